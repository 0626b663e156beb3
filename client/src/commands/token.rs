//! `adyton token`: API tokens, signed by an issuer key that the model's release policy names.

use std::path::Path;

use attestation::UnixTime;
use exchange::{
    ApiToken,
    token::{TokenClaims, TokenIssuer},
};
use serde_json::json;
use zeroize::Zeroizing;

use crate::{
    cli::{Token, TokenNew},
    discovery,
    error::ClientError,
    output::{FAINT, Output, STRONG},
    private_file,
};

/// Issuer key files above this are refused (bytes).
const KEY_BYTES_MAX: u64 = 1 << 10;
/// Longest tenant name (bytes).
const TENANT_BYTES_MAX: usize = 64;
/// How far the enclave's clock may be behind the issuer's.
const CLOCK_DIFFERENCE_SECONDS: u64 = 60;
/// Longest validity: ten years (seconds).
const VALIDITY_SECONDS_MAX: u64 = 10 * 365 * 24 * 3600;

/// Runs a token command.
pub fn run(token: Token, output: Output) -> Result<u8, ClientError> {
    match token {
        Token::Keygen { out } => keygen(&out, output),
        Token::New(new) => issue_to_file(&new, output),
    }
}

fn keygen(out: &Path, output: Output) -> Result<u8, ClientError> {
    let issuer = generate(out)?;
    let public = hex::encode(issuer.public_key());
    let text = format!(
        "{STRONG}issuer{STRONG:#}  {public}\n{FAINT}private key in {}; the public one goes into the release policy under [tokens] issuers{FAINT:#}",
        out.display()
    );
    output.result(&text, &json!({ "public_key": public, "private_key_file": out }))?;
    Ok(0)
}

fn issue_to_file(new: &TokenNew, output: Output) -> Result<u8, ClientError> {
    let issuer = read_issuer(&new.issuer_key)?;
    let seconds = parse_duration(&new.expires)?;
    let models = (!new.models.is_empty()).then(|| new.models.clone());
    let (token, claims) = issue(&issuer, &new.tenant, models, discovery::now(), seconds)?;
    let mut line = Zeroizing::new(String::with_capacity(token.expose().len() + 1));
    line.push_str(token.expose());
    line.push('\n');
    private_file::create_secret(&new.out, line.as_bytes())?;
    let text = format!(
        "{STRONG}token{STRONG:#}    {} in {}\n{STRONG}tenant{STRONG:#}   {}\n{STRONG}expires{STRONG:#}  {}",
        claims.token_id,
        new.out.display(),
        claims.tenant,
        claims.expires
    );
    let document = json!({
        "token_file": new.out,
        "token_id": claims.token_id,
        "tenant": claims.tenant,
        "not_before": claims.not_before.to_string(),
        "expires": claims.expires.to_string(),
        "models": claims.models,
        "issuer": hex::encode(issuer.public_key()),
    });
    output.result(&text, &document)?;
    Ok(0)
}

/// Makes an issuer key in a new file.
pub fn generate(out: &Path) -> Result<TokenIssuer, ClientError> {
    let issuer = TokenIssuer::generate().map_err(|error| ClientError::State(error.to_string()))?;
    let line = Zeroizing::new(format!(
        "{}\n",
        *Zeroizing::new(hex::encode(issuer.expose_seed().as_slice()))
    ));
    private_file::create_secret(out, line.as_bytes())?;
    Ok(issuer)
}

/// Reads an issuer key: the Ed25519 seed as 64 hex digits.
pub fn read_issuer(path: &Path) -> Result<TokenIssuer, ClientError> {
    let bytes = private_file::read(path, KEY_BYTES_MAX)?;
    let mut seed = Zeroizing::new([0; 32]);
    let malformed = || ClientError::Malformed {
        what: "issuer key",
        problem: "it is not 64 hex digits".to_owned(),
    };
    hex::decode_to_slice(bytes.trim_ascii(), seed.as_mut_slice()).map_err(|_| malformed())?;
    Ok(TokenIssuer::from_seed(&seed))
}

/// Issues a token for `seconds` from `now`. It is valid a little earlier: the enclave's clock may be behind ours (RFC 7519
/// section 4.1.5), and a guest reads its own in whole seconds.
pub fn issue(
    issuer: &TokenIssuer,
    tenant: &str,
    models: Option<Vec<String>>,
    now: UnixTime,
    seconds: u64,
) -> Result<(ApiToken, TokenClaims), ClientError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if tenant.is_empty() || tenant.len() > TENANT_BYTES_MAX || !tenant.chars().all(plain) {
        return Err(ClientError::Usage(
            "a tenant is 1 to 64 letters, digits, `-`, `_` and `.`".to_owned(),
        ));
    }
    let mut id = [0; 8];
    getrandom::fill(&mut id).map_err(|_| ClientError::State("the system has no randomness".to_owned()))?;
    let claims = TokenClaims {
        tenant: tenant.to_owned(),
        token_id: hex::encode(id),
        not_before: UnixTime::from_seconds(now.seconds().saturating_sub(CLOCK_DIFFERENCE_SECONDS)),
        expires: now.plus_seconds(seconds),
        models,
    };
    let token = issuer
        .issue(&claims)
        .map_err(|error| ClientError::Token(error.to_string()))?;
    Ok((token, claims))
}

/// `90s`, `15m`, `12h`, `30d`.
pub(crate) fn parse_duration(text: &str) -> Result<u64, ClientError> {
    let wrong = || {
        ClientError::Usage(format!(
            "`{text}` is not a duration; write 90s, 15m, 12h or 30d (at most ten years)"
        ))
    };
    let (number, unit) = text
        .split_at_checked(text.len().saturating_sub(1))
        .ok_or_else(wrong)?;
    let unit_seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        _ => return Err(wrong()),
    };
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = number
        .parse::<u64>()
        .ok()
        .filter(|_| digits)
        .and_then(|number| number.checked_mul(unit_seconds));
    seconds
        .filter(|seconds| (1..=VALIDITY_SECONDS_MAX).contains(seconds))
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, seconds) in [("90s", 90), ("15m", 900), ("12h", 43_200), ("30d", 2_592_000)] {
            assert_eq!(parse_duration(text).expect("a duration"), seconds);
        }
        for wrong in [
            "",
            "d",
            "0d",
            "-1d",
            "+1d",
            "1y",
            "30",
            "1.5h",
            "9999999999999999999d",
            "36500d",
            "é",
        ] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_token_of_a_stored_issuer_verifies_and_a_second_key_does_not_overwrite() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("issuer.key");
        let public = generate(&path).expect("new file").public_key();
        assert!(generate(&path).is_err());
        let issuer = read_issuer(&path).expect("our own file");
        let now = UnixTime::from_seconds(1_800_000_000);
        let (token, claims) = issue(&issuer, "acme", None, now, 60).expect("issued");
        assert_eq!(token.verify(&[public], now).expect("valid"), claims);
        assert!(token.verify(&[public], now.plus_seconds(60)).is_err());
        let behind = |seconds| UnixTime::from_seconds(now.seconds() - seconds);
        assert!(token.verify(&[public], behind(60)).is_ok());
        assert!(token.verify(&[public], behind(61)).is_err());
        assert!(token.verify(&[[7; 32]], now).is_err());
    }

    #[test]
    fn a_tenant_is_a_plain_name() {
        let issuer = TokenIssuer::from_seed(&[1; 32]);
        let now = UnixTime::from_seconds(1_800_000_000);
        for wrong in ["", "a b", "a\n", &"a".repeat(65)] {
            assert_eq!(
                issue(&issuer, wrong, None, now, 60)
                    .err()
                    .expect("refused")
                    .code(),
                "usage"
            );
        }
    }
}
