//! Commands, as a page of the documentation shows them.

use anyhow::{Context as _, Result};

/// The commands of the first block of shell commands below the heading `heading` of `page`.
pub(crate) fn commands(page: &str, heading: &str) -> Result<String> {
    let (_, section) =
        page.split_once(&format!("\n## {heading}\n")).with_context(|| format!("no heading {heading}"))?;
    let section = section.split("\n## ").next().unwrap_or_default();
    let block = section.split_once("\n```sh\n").and_then(|(_, rest)| rest.split_once("\n```"));
    let (block, _) = block.with_context(|| format!("no commands below {heading}"))?;
    Ok(block.to_owned())
}

#[test]
fn commands_are_those_below_their_heading() -> Result<()> {
    let page =
        "# Title\n\n```sh\nno\n```\n\n## One\n\ntext\n\n## Two\n\n```sh\na b\nc\n```\n\n```sh\nd\n```\n";
    assert_eq!(commands(page, "Two")?, "a b\nc");
    assert!(commands(page, "One").is_err() && commands(page, "Three").is_err());
    Ok(())
}
