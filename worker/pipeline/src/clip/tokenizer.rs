//! A prompt to token numbers, as the tokenizer does with which the models were trained (fixture 03): Unicode composed, lower
//! case, words and marks apart, pairs of bytes merged.

use std::fmt;

use instant_clip_tokenizer::{Token, Tokenizer as PairMerger};
use unicode_normalization::UnicodeNormalization;

use crate::{Error, Result};

/// Tokens of a prompt, with the marks of its start and its end.
pub const CONTEXT: usize = 77;
/// Tokens that are told apart.
pub const VOCABULARY: i64 = 49_408;
/// Characters that a prompt may have. Those beyond its first 75 tokens count for nothing, as in the reference.
pub const MAX_PROMPT: usize = 10_000;

const START: i64 = 49_406;
/// Marks the end of the prompt and fills what is left.
const END: i64 = 49_407;
/// What stands for a mark where a prompt spells it.
const MARKS: [(&str, i64); 2] = [("<|startoftext|>", START), ("<|endoftext|>", END)];

/// CLIP's tokenizer with CLIP's vocabulary.
pub struct Tokenizer(PairMerger);

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokenizer")
    }
}

impl Default for Tokenizer {
    fn default() -> Self {
        Self::new()
    }
}

impl Tokenizer {
    /// Reads the vocabulary, which takes some 50 ms.
    pub fn new() -> Self {
        Self(PairMerger::new())
    }

    /// The tokens of a prompt: start, at most 75 of it, end, and ends up to [`CONTEXT`].
    ///
    /// # Errors
    /// [`Error::InvalidInput`] when it has more than [`MAX_PROMPT`] characters.
    pub fn tokens(&self, prompt: &str) -> Result<[i64; CONTEXT]> {
        let length = prompt.chars().count();
        if length > MAX_PROMPT {
            return Err(Error::InvalidInput(format!(
                "the prompt has {length} characters; use at most {MAX_PROMPT}, of which the first 75 tokens count"
            )));
        }
        // Letter by letter: a word's last sigma stays what it is in the middle.
        let text: String = prompt.nfc().flat_map(char::to_lowercase).collect();
        let mut found = Vec::new();
        for word in text.split_whitespace() {
            self.encode(word, &mut found);
            if found.len() >= CONTEXT - 2 {
                break;
            }
        }
        let mut tokens = [END; CONTEXT];
        let between = found.into_iter().take(CONTEXT - 2);
        tokens.iter_mut().zip([START].into_iter().chain(between)).for_each(|(place, token)| *place = token);
        Ok(tokens)
    }

    /// Appends the tokens of a word without white space.
    fn encode(&self, word: &str, found: &mut Vec<i64>) {
        let marks = MARKS.iter().filter_map(|&(mark, token)| Some((word.find(mark)?, mark, token)));
        match marks.min_by_key(|&(at, ..)| at) {
            Some((at, mark, token)) => {
                let (before, rest) = word.split_at(at);
                self.merge(before, found);
                found.push(token);
                self.encode(&rest[mark.len()..], found);
            }
            None => self.merge(word, found),
        }
    }

    fn merge(&self, word: &str, found: &mut Vec<i64>) {
        // The crate has spellings of its own for the two marks; cut in two they are words like others.
        let word = word.replace("<start_of_text>", "< start_of_text>");
        let word = word.replace("<end_of_text>", "< end_of_text>");
        let mut tokens: Vec<Token> = Vec::new();
        self.0.encode(&word, &mut tokens);
        found.extend(tokens.into_iter().map(|token| i64::from(token.to_u16())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_prompt_of_ten_thousand_characters_becomes_tokens_and_a_longer_one_is_refused() {
        let tokenizer = Tokenizer::new();
        for pattern in ["a", "a ", "🐉", "\u{0}", "\u{301}", "<|endoftext|>", "xylophon", "𝕬\u{7f}", "ﷺ"]
        {
            let prompt: String = pattern.chars().cycle().take(MAX_PROMPT).collect();
            let tokens = tokenizer.tokens(&prompt).unwrap();
            assert_eq!((tokens[0], tokens[CONTEXT - 1]), (START, END), "{pattern:?}");
            assert!(tokens.iter().all(|token| (0..VOCABULARY).contains(token)), "{pattern:?}");
            let longer = tokenizer.tokens(&(prompt + "b"));
            assert!(matches!(longer, Err(Error::InvalidInput(_))), "{pattern:?}");
        }
    }

    #[test]
    fn what_the_crate_spells_as_a_mark_is_text() {
        let tokenizer = Tokenizer::new();
        let tokens = tokenizer.tokens("<start_of_text>").unwrap();
        assert_eq!(tokens, tokenizer.tokens("< start _ of _ text >").unwrap());
    }
}
