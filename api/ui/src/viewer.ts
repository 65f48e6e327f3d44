// A model that turns. Loaded only when there is one to show: three.js is the larger part of the page.
import {
  Box3, Color, DirectionalLight, HemisphereLight, PerspectiveCamera, Scene, Vector3, WebGLRenderer, type Object3D,
} from "three";
import { OrbitControls } from "three/addons/controls/OrbitControls.js";
import { GLTFLoader } from "three/addons/loaders/GLTFLoader.js";

/** Radians that an arrow key turns. */
const STEP = Math.PI / 16;

/** Degrees that the shorter side of the view sees. */
const ANGLE = 38;

/** How near and far the eye may be, in radii of the model. */
const NEAREST = 1.2;
const FARTHEST = 8;

/**
 * Shows the GLB in `place`; `turning` lets it turn by itself, or rest. The returned function ends it and frees what it held.
 *
 * A frame is drawn only when it differs from the last one: a model that rests costs no battery.
 */
export async function show(place: HTMLElement, glb: ArrayBuffer, turning: HTMLButtonElement): Promise<() => void> {
  const { scene: model } = await new GLTFLoader().parseAsync(glb, "");
  const renderer = new WebGLRenderer({ antialias: true, alpha: true });
  const canvas = canvasOf(renderer);
  place.replaceChildren(canvas);

  const camera = new PerspectiveCamera(ANGLE, 1, 0.01, 100);
  camera.position.set(0, 1.3, 2.75);
  const scene = lit(centred(model));
  const controls = new OrbitControls(camera, canvas);
  controls.enablePan = false;
  controls.minDistance = NEAREST;
  controls.maxDistance = FARTHEST;
  controls.autoRotateSpeed = 1.5;

  let stale = true;
  const ended = new AbortController();
  const { signal } = ended;
  const turn = (on: boolean) => {
    controls.autoRotate = on;
    turning.setAttribute("aria-pressed", String(on));
  };
  turn(!matchMedia("(prefers-reduced-motion: reduce)").matches);
  turning.addEventListener("click", () => turn(!controls.autoRotate), { signal });
  controls.addEventListener("start", () => turn(false));
  controls.addEventListener("change", () => (stale = true));
  canvas.addEventListener("webglcontextrestored", () => (stale = true), { signal });
  canvas.addEventListener("keydown", (event) => {
    if (!move(camera, event.key)) return;
    turn(false);
    stale = true;
    event.preventDefault();
  }, { signal });

  const resized = new ResizeObserver(() => {
    const { clientWidth: width, clientHeight: height } = place;
    if (!width || !height) return;
    camera.aspect = width / height;
    camera.fov = angle(camera.aspect);
    camera.updateProjectionMatrix();
    renderer.setPixelRatio(Math.min(devicePixelRatio, 2));
    renderer.setSize(width, height);
    stale = true;
  });
  resized.observe(place);
  renderer.setAnimationLoop(() => {
    controls.update();
    if (!stale) return;
    stale = false;
    renderer.render(scene, camera);
  });
  return () => {
    ended.abort();
    renderer.setAnimationLoop(null);
    resized.disconnect();
    controls.dispose();
    free(model);
    renderer.dispose();
    renderer.forceContextLoss();
    canvas.remove();
  };
}

function canvasOf(renderer: WebGLRenderer): HTMLCanvasElement {
  const canvas = renderer.domElement;
  canvas.tabIndex = 0;
  // Screen readers pass the arrow keys on to an application alone.
  canvas.setAttribute("role", "application");
  canvas.setAttribute("aria-roledescription", "3D model");
  canvas.setAttribute("aria-label", "The asset in 3D. Arrow keys turn it, plus and minus zoom.");
  return canvas;
}

/** Degrees that the height of the view sees: more where it is narrow, so that the model fits its width. */
function angle(aspect: number): number {
  const half = Math.tan((ANGLE / 2) * (Math.PI / 180)) / Math.min(1, aspect);
  return 2 * Math.atan(half) * (180 / Math.PI);
}

/** Models come in any size; this one fits a sphere of radius 1 around the origin. */
function centred(model: Object3D): Object3D {
  const box = new Box3().setFromObject(model);
  const radius = box.getSize(new Vector3()).length() / 2 || 1;
  const centre = box.getCenter(new Vector3());
  model.scale.multiplyScalar(1 / radius);
  model.position.sub(centre.multiplyScalar(1 / radius));
  return model;
}

function lit(model: Object3D): Scene {
  const scene = new Scene();
  const sun = new DirectionalLight(new Color(0xffffff), 2);
  sun.position.set(2, 4, 3);
  scene.add(model, new HemisphereLight(0xffffff, 0x8890a0, 2.2), sun);
  return scene;
}

/** Moves the camera around the origin; whether `key` is one that does. */
function move(camera: PerspectiveCamera, key: string): boolean {
  const place = camera.position;
  const up = new Vector3(0, 1, 0);
  const side = new Vector3().crossVectors(place, up).normalize();
  const tilt = (angle: number) => {
    const next = place.clone().applyAxisAngle(side, angle);
    if (Math.abs(next.y) < next.length() * 0.98) place.copy(next);
  };
  const zoom = (factor: number) => place.setLength(Math.min(FARTHEST, Math.max(NEAREST, place.length() * factor)));
  const moves: Record<string, () => unknown> = {
    ArrowLeft: () => place.applyAxisAngle(up, -STEP),
    ArrowRight: () => place.applyAxisAngle(up, STEP),
    ArrowUp: () => tilt(STEP),
    ArrowDown: () => tilt(-STEP),
    "+": () => zoom(0.85),
    "=": () => zoom(0.85),
    "-": () => zoom(1.18),
  };
  moves[key]?.();
  return key in moves;
}

function free(model: Object3D): void {
  model.traverse((part) => {
    if (!("geometry" in part)) return;
    const mesh = part as import("three").Mesh;
    mesh.geometry.dispose();
    for (const material of [mesh.material].flat()) {
      for (const value of Object.values(material)) if (value?.isTexture) value.dispose();
      material.dispose();
    }
  });
}
