//! Names of worker pods.

/// Those of Kubernetes' own generated names: no vowels, so that no words come about.
/// <https://github.com/kubernetes/apimachinery/blob/master/pkg/util/rand/rand.go>
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
const LETTERS: usize = 5;

/// `<pool>-` and five letters that `number` is written in. The operator names a worker when it decides to make one: the same request, sent
/// twice, then makes one pod.
pub(crate) fn name(pool: &str, number: u64) -> String {
    let mut rest = number;
    let letters = (0..LETTERS).filter_map(|_| {
        let letter = usize::try_from(rest % 27).ok()?;
        rest /= 27;
        ALPHABET.get(letter).copied().map(char::from)
    });
    format!("{pool}-{}", letters.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_by_their_number_and_are_such_as_kubernetes_takes() {
        let names: std::collections::HashSet<_> = (0..1000).map(|number| name("image", number)).collect();
        assert_eq!(names.len(), 1000);
        assert_eq!(name("image", 1), name("image", 1));
        for name in names {
            let letters = name.strip_prefix("image-").unwrap();
            assert!(
                letters.len() == LETTERS && letters.bytes().all(|byte| ALPHABET.contains(&byte)),
                "{name}"
            );
        }
    }
}
