//! Vertices that faces join.

/// Of each of `vertices` vertices one that stands for all that faces join it to.
pub(crate) fn representatives(vertices: usize, faces: impl IntoIterator<Item = [u32; 3]>) -> Vec<u32> {
    let mut parents: Vec<u32> = (0..vertices as u32).collect();
    for [a, b, c] in faces {
        let root = root(&mut parents, a);
        for vertex in [b, c] {
            let other = self::root(&mut parents, vertex);
            parents[other as usize] = root;
        }
    }
    (0..vertices as u32).map(|vertex| root(&mut parents, vertex)).collect()
}

/// For each of `keys`, all below `limit`, a number by the order in which they first come; and how many numbers there are.
pub(crate) fn numbered(limit: usize, keys: impl IntoIterator<Item = u32>) -> (Vec<u32>, usize) {
    let mut numbers = vec![u32::MAX; limit];
    let mut count = 0;
    let number = |key: u32| {
        let number = &mut numbers[key as usize];
        if *number == u32::MAX {
            *number = count;
            count += 1;
        }
        *number
    };
    let list = keys.into_iter().map(number).collect();
    (list, count as usize)
}

/// The root of a vertex in the forest, with paths made shorter on the way.
fn root(parents: &mut [u32], mut vertex: u32) -> u32 {
    while parents[vertex as usize] != vertex {
        let above = parents[parents[vertex as usize] as usize];
        parents[vertex as usize] = above;
        vertex = above;
    }
    vertex
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faces_that_share_a_vertex_are_joined_and_pieces_are_numbered_as_they_come() {
        let roots = representatives(9, [[7, 8, 6], [2, 3, 4], [4, 1, 0]]);
        assert_eq!(numbered(9, roots), (vec![0, 0, 0, 0, 0, 1, 2, 2, 2], 3));
    }
}
