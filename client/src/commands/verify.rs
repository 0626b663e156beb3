//! `adyton verify`: evidence of a host, or of a bundle in a file.

use std::path::Path;

use attestation::{Bundle, Nonce, UnixTime, Verdict};

use crate::{
    cli::Verify,
    discovery::{self, Fetched},
    error::ClientError,
    output::Output,
    private_file::{self, PUBLIC_MODE},
    verdict::Appraised,
};

/// Appraises and prints; the exit code is the verdict's.
pub async fn run(verify: Verify, output: Output) -> Result<u8, ClientError> {
    let verifier = discovery::verifier(&verify.deployment)?;
    let (subject, fetched) = evidence(&verify, output).await?;
    if let Some(path) = &verify.save {
        private_file::write(path, &fetched.bytes, PUBLIC_MODE)?;
        output.progress(&format!(
            "saved {}; its nonce is {}",
            path.display(),
            hex::encode(fetched.nonce.as_bytes())
        ));
    }
    let at = moment(verify.at.as_deref())?;
    let explanation = verifier.explain(&fetched.bundle, &fetched.nonce, at);
    let appraised = Appraised {
        subject: &subject,
        bundle: &fetched.bundle,
        at,
        explanation: &explanation,
        bytes: &fetched.bytes,
    };
    output.result(
        &appraised.text(verify.explain, output.columns()),
        &appraised.document(),
    )?;
    Ok(match &explanation.verdict {
        Verdict::Accepted(_) => 0,
        Verdict::Refused(error) => error.exit_code(),
    })
}

async fn evidence(verify: &Verify, output: Output) -> Result<(String, Fetched), ClientError> {
    match verify.target.as_deref().or(verify.deployment.url.as_deref()) {
        Some(url) if url.contains("://") => {
            let transport = discovery::transport(&verify.deployment, Some(url))?;
            output.progress(&format!("asking {url} for evidence over a fresh nonce"));
            Ok((url.to_owned(), discovery::fetch(&transport).await?))
        }
        Some(file) => {
            let nonce = verify.nonce.as_deref().ok_or_else(|| {
                ClientError::Usage("a bundle in a file answers a nonce; name it with --nonce".to_owned())
            })?;
            let nonce = Nonce::from_bytes(discovery::parse_32_bytes("--nonce", nonce)?);
            let bytes = private_file::read(Path::new(file), attestation::BUNDLE_BYTES_MAX as u64)?.to_vec();
            let bundle = Bundle::decode(&bytes)?;
            Ok((file.to_owned(), Fetched { nonce, bytes, bundle }))
        }
        None => Err(ClientError::Usage(
            "name a host's URL or a bundle's file".to_owned(),
        )),
    }
}

fn moment(at: Option<&str>) -> Result<UnixTime, ClientError> {
    at.map_or_else(|| Ok(discovery::now()), discovery::parse_time)
}
