// A photo becomes an asset: submit it, follow the job, fetch the file, and compare it with what the job says of it.
// node job.js PHOTO ASSET, with the service's address in API and a key of it in KEY.
import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { setTimeout } from "node:timers/promises";
import createClient from "openapi-fetch";
import type { paths } from "./schema.js";

const [photo, asset] = process.argv.slice(2);
if (!photo || !asset) throw new Error("usage: node job.js PHOTO ASSET");
const client = createClient<paths>({
  baseUrl: process.env.API,
  headers: { Authorization: `Bearer ${process.env.KEY}` },
});

/** What was answered, or the problem that it was refused with. */
function answered<T>({ data, error }: { data?: T; error?: { code: string; detail: string } }): T {
  if (error) throw new Error(`${error.code}: ${error.detail}`);
  return data as T;
}

const image = (await readFile(photo)).toString("base64");
const { id } = answered(
  await client.POST("/api/v1/generate/image-to-3d", {
    body: { image_base64: image, output_formats: ["glb"], quality: "fast" },
  }),
);
const params = { path: { id } };
for (;;) {
  const { status, error } = answered(await client.GET("/api/v1/jobs/{id}/status", { params }));
  console.log(id, status);
  if (status === "completed") break;
  if (status === "failed" || status === "cancelled") throw new Error(error?.message ?? status);
  await setTimeout(1000);
}
const { outputs } = answered(await client.GET("/api/v1/jobs/{id}", { params }));
const result = await client.GET("/api/v1/jobs/{id}/result", { params, parseAs: "arrayBuffer" });
const file = Buffer.from(answered(result));
const expected = outputs.find((output) => output.format === "glb")?.sha256;
if (createHash("sha256").update(file).digest("hex") !== expected) throw new Error("the file is not the job's");
await writeFile(asset, file);
console.log(asset, file.length, "bytes, sha256", expected);
