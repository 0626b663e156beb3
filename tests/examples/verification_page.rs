//! Prints docs/verification.md: `scripts/verification-page` writes it.
#![allow(clippy::print_stdout, reason = "it speaks to a person")]

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let page = harness::verification::generate()?;
    if page.evidence.is_none() {
        return Err("the page states what real evidence proves: set ADYTON_VECTORS to a corpus".into());
    }
    print!("{page}");
    Ok(())
}
