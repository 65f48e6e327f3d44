//! A place in a square for each of very many small boxes, by their heights alone: time grows with their number, not with its square.

/// Texels around a box, the most that leaves room for the boxes.
const MARGINS: [f32; 4] = [2.0, 1.0, 0.5, 0.25];
/// The share of the square that the margins would take of boxes without an extent, if there are narrower ones.
const MAX_SHARE: f32 = 0.125;
/// Scales that are tried, each time with half the way between one that fits and one that does not.
const TRIALS: usize = 24;

/// Where the boxes are.
pub(super) struct Shelves {
    /// Texels for each unit of the boxes' lengths.
    pub(super) scale: f32,
    /// The upper left corner of each box, in texels.
    pub(super) corners: Vec<[f32; 2]>,
}

impl Shelves {
    /// Boxes of the given widths and heights in a square of `size` texels a side, as large as they fit, each with a margin around it and in texels of
    /// its own. `None`: there are more boxes than texels.
    pub(super) fn new(boxes: &[[f32; 2]], size: u32) -> Option<Self> {
        let mut order: Vec<usize> = (0..boxes.len()).collect();
        order.sort_by(|&a, &b| boxes[b][1].total_cmp(&boxes[a][1]).then(boxes[b][0].total_cmp(&boxes[a][0])));
        let room = MAX_SHARE * size as f32 * size as f32;
        let crowded = |margin: &f32| 4.0 * margin * margin * boxes.len() as f32 > room;
        let crowded = MARGINS.iter().take_while(|margin| crowded(margin)).count().min(MARGINS.len() - 1);
        MARGINS[crowded..].iter().find_map(|&margin| Self::with_margin(boxes, &order, size, margin))
    }

    fn with_margin(boxes: &[[f32; 2]], order: &[usize], size: u32, margin: f32) -> Option<Self> {
        let area: f32 = boxes.iter().map(|[width, height]| width * height).sum();
        let (mut low, mut high) = (0.0, size as f32 / area.max(f32::MIN_POSITIVE).sqrt());
        let mut best = None;
        for _ in 0..TRIALS {
            let scale = 0.5 * (low + high);
            match shelve(boxes, order, size, (scale, margin)) {
                Some(corners) => (low, best) = (scale, Some(Self { scale, corners })),
                None => high = scale,
            }
        }
        best
    }
}

/// A free part of the square, in texels.
struct Room {
    corner: [u32; 2],
    size: [u32; 2],
}

/// The corners of the boxes, the highest first: each takes the upper left corner of a room, what is right of it, as high as it is, is the next room, and
/// what is below is left for those that come when that is full. `None`: they do not fit.
fn shelve(
    boxes: &[[f32; 2]],
    order: &[usize],
    size: u32,
    (scale, margin): (f32, f32),
) -> Option<Vec<[f32; 2]>> {
    let mut corners = vec![[0.0; 2]; boxes.len()];
    let mut rooms = vec![Room { corner: [0; 2], size: [size; 2] }];
    for &index in order {
        // Casts keep what is too large for the square.
        let [width, height] = boxes[index].map(|side| (side * scale + 2.0 * margin).ceil() as u32);
        let Room { corner: [x, y], size: [right, down] } = loop {
            let room = rooms.pop()?;
            if width <= room.size[0] && height <= room.size[1] {
                break room;
            }
        };
        corners[index] = [x, y].map(|at| at as f32 + margin);
        rooms.push(Room { corner: [x, y + height], size: [right, down - height] });
        rooms.push(Room { corner: [x + width, y], size: [right - width, height] });
    }
    Some(corners)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_lie_apart_within_the_square() {
        let boxes: Vec<_> = (0..1500).map(|i| [1.0 + (i % 7) as f32, 1.0 + (i % 11) as f32 / 3.0]).collect();
        let boxes = [&[[300.0, 200.0]][..], &boxes].concat();
        let Shelves { scale, corners } = Shelves::new(&boxes, 512).unwrap();
        let ends: Vec<_> = boxes
            .iter()
            .zip(&corners)
            .map(|(size, corner)| [0, 1].map(|axis| corner[axis] + scale * size[axis]))
            .collect();
        let area: f32 = boxes.iter().map(|[width, height]| width * height * scale * scale).sum();
        assert!(area > 0.2 * 512.0 * 512.0, "they take {area} texels");
        for (a, (low, high)) in corners.iter().zip(&ends).enumerate() {
            assert!(low.iter().all(|&x| x >= 2.0) && high.iter().all(|&x| x <= 510.001), "{low:?} {high:?}");
            for b in 0..a {
                let apart = (0..2)
                    .any(|axis| low[axis] > ends[b][axis] + 3.99 || corners[b][axis] > high[axis] + 3.99);
                assert!(apart, "{a} and {b} are too close");
            }
        }
    }

    #[test]
    fn there_is_a_place_for_as_many_boxes_as_texels() {
        let Shelves { corners, .. } = Shelves::new(&[[1.0, 2.0]; 17 * 17], 17).unwrap();
        let mut texels: Vec<_> = corners.iter().map(|corner| corner.map(|x| x as u32)).collect();
        texels.sort_unstable();
        texels.dedup();
        assert_eq!(texels.len(), 17 * 17);
        assert!(Shelves::new(&[[1.0, 2.0]; 17 * 17 + 1], 17).is_none());
    }
}
