//! Which certificates and keys can serve: the same rules, in the same words, as the checks of the control plane.
//! Errors are one clause for people and never hold a byte of a key.

use super::{extended_key_usage, sound_extensions};
use boring::ec::EcKeyRef;
use boring::nid::Nid;
use boring::pkey::{Id, PKey, PKeyRef, Private};
use boring::x509::{X509, X509Ref};
use boring_sys as ffi;

const MAX_CHAIN: usize = 16;
const RSA_BITS: std::ops::RangeInclusive<u32> = 2048..=8192;

/// A chain, leaf first, and the key of its leaf.
pub struct Identity {
    pub chain: Vec<X509>,
    pub key: PKey<Private>,
}

pub fn read_identity(cert: &str, key: &str) -> Result<Identity, String> {
    let chain = read_chain(cert)?;
    let key = read_key(key)?;
    let leaf = chain.first().ok_or("there is no certificate in it (-----BEGIN CERTIFICATE-----)")?;
    if !belongs(leaf, &key) {
        return Err(wrong_key(&chain, &key));
    }
    check_order(&chain)?;
    check_usage(leaf)?;
    check_names(leaf)?;
    Ok(Identity { chain, key })
}

/// The certificates of a bundle: at least one.
pub fn read_bundle(pem: &str) -> Result<Vec<X509>, String> {
    if pem.is_empty() {
        return Err("there is no certificate: the text is empty".into());
    }
    if pem.as_bytes().first() == Some(&0x30) {
        return Err("the certificate is DER; it must be PEM (-----BEGIN CERTIFICATE-----)".into());
    }
    let mut found = Vec::new();
    for (label, block) in blocks(pem) {
        if !matches!(label, "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE") {
            continue;
        }
        found.push(X509::from_pem(block.as_bytes()).map_err(|_| format!("certificate {} cannot be read", found.len() + 1))?);
    }
    if found.is_empty() {
        return Err("there is no certificate in it (-----BEGIN CERTIFICATE-----)".into());
    }
    Ok(found)
}

fn read_chain(pem: &str) -> Result<Vec<X509>, String> {
    let chain = read_bundle(pem)?;
    if chain.len() > MAX_CHAIN {
        return Err(format!("the chain has {} certificates, at most {MAX_CHAIN}", chain.len()));
    }
    Ok(chain)
}

fn read_key(pem: &str) -> Result<PKey<Private>, String> {
    if pem.is_empty() {
        return Err("there is no private key: the text is empty".into());
    }
    if pem.as_bytes().first() == Some(&0x30) {
        return Err("the private key is DER; it must be PEM (-----BEGIN PRIVATE KEY-----)".into());
    }
    let mut keys = blocks(pem).filter(|(label, _)| label.ends_with("PRIVATE KEY"));
    let (label, block) = keys.next().ok_or("there is no private key in it (-----BEGIN PRIVATE KEY-----)")?;
    if keys.next().is_some() {
        return Err("there is more than one private key in it".into());
    }
    if label == "ENCRYPTED PRIVATE KEY" || block.contains("Proc-Type: 4,ENCRYPTED") {
        return Err("the private key is encrypted; it must be stored in the clear".into());
    }
    let key = PKey::private_key_from_pem(block.as_bytes()).map_err(|_| "the private key cannot be read")?;
    check_key(&key)?;
    Ok(key)
}

/// What TLS 1.3 clients can be expected to verify.
fn check_key(key: &PKeyRef<Private>) -> Result<(), String> {
    match key.id() {
        Id::RSA if RSA_BITS.contains(&key.bits()) => Ok(()),
        Id::RSA => Err(format!("the RSA key has {} bits; use {} to {}", key.bits(), RSA_BITS.start(), RSA_BITS.end())),
        Id::EC => match key.ec_key().ok().as_deref().and_then(curve) {
            Some(Nid::X9_62_PRIME256V1 | Nid::SECP384R1) => Ok(()),
            other => {
                let name = other.and_then(|n| n.short_name().ok()).unwrap_or("unknown");
                Err(format!("the curve {name} is not supported; use P-256 or P-384"))
            }
        },
        other => {
            let name = if other == Id::ED25519 { "ed25519" } else { "unknown" };
            Err(format!("keys of type {name} are not supported; use ECDSA (P-256, P-384) or RSA"))
        }
    }
}

fn curve(key: &EcKeyRef<Private>) -> Option<Nid> {
    key.group().curve_name()
}

fn belongs(cert: &X509Ref, key: &PKeyRef<Private>) -> bool {
    cert.public_key().is_ok_and(|public| public.public_eq(key))
}

fn wrong_key(chain: &[X509], key: &PKeyRef<Private>) -> String {
    match chain.iter().position(|c| belongs(c, key)) {
        Some(at) => format!("the private key belongs to certificate {} of the chain; the leaf must come first", at + 1),
        None => "the private key does not belong to the certificate".into(),
    }
}

fn check_order(chain: &[X509]) -> Result<(), String> {
    for (i, (subject, issuer)) in chain.iter().zip(chain.iter().skip(1)).enumerate() {
        if !issued(subject, issuer) {
            let (subject, issuer) = (i + 1, i + 2);
            return Err(format!(
                "certificate {issuer} of the chain did not issue certificate {subject}; each must be followed by its issuer"
            ));
        }
    }
    Ok(())
}

/// By their names and key identifiers. The signature may be one that BoringSSL cannot verify, of a brainpool curve for instance, and clients can:
/// whoever compiled the table has judged it.
fn issued(subject: &X509Ref, issuer: &X509Ref) -> bool {
    issuer.issued(subject).is_ok()
}

fn check_usage(leaf: &X509Ref) -> Result<(), String> {
    if !sound_extensions(leaf) {
        return Err("the certificate has extensions that cannot be read, or that contradict each other".into());
    }
    if extended_key_usage(leaf) & (ffi::XKU_SSL_SERVER | ffi::XKU_ANYEKU) as u32 == 0 {
        return Err("the certificate is not meant for a server (extended key usage)".into());
    }
    Ok(())
}

/// A name that holds a NUL, a comma or anything else odd is read differently by different readers: the certificate is refused as a whole.
fn check_names(leaf: &X509Ref) -> Result<(), String> {
    let odd = |name: &str| !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._*".contains(&b));
    let Some(names) = leaf.subject_alt_names() else { return Ok(()) };
    if names.iter().filter_map(|n| n.dnsname()).any(odd) {
        return Err("the certificate has a subject alternative name with characters that no name has".into());
    }
    Ok(())
}

/// The PEM blocks of a text: label, and the block with its fences. What stands between them is nobody's business.
fn blocks(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let start = rest.find(BEGIN)?;
            let (fenced, body) = (rest.get(start..)?, rest.get(start + BEGIN.len()..)?);
            rest = body;
            let Some((label, _)) = body.split_once("-----") else { continue };
            if label.is_empty() || !label.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b' ') {
                continue;
            }
            let end = format!("-----END {label}-----");
            let Some(at) = fenced.find(&end) else { continue };
            let whole = at + end.len();
            rest = fenced.get(whole..)?;
            return Some((label, fenced.get(..whole)?));
        }
    })
}

const BEGIN: &str = "-----BEGIN ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_among_other_text() {
        let text =
            "x -----BEGIN A-----\n1\n-----END A----- y -----BEGIN lower-----\n-----END lower-----\n-----BEGIN B-----\n2\n-----END B-----";
        let found: Vec<_> = blocks(text).collect();
        assert_eq!(found, [("A", "-----BEGIN A-----\n1\n-----END A-----"), ("B", "-----BEGIN B-----\n2\n-----END B-----")]);
    }

    #[test]
    fn every_prefix_of_a_block_is_no_block() {
        let text = "-----BEGIN KEY-----\nAAAA\n-----END KEY-----";
        for n in 0..text.len() {
            assert_eq!(blocks(&text[..n]).count(), 0, "{n}");
        }
        assert_eq!(blocks(text).count(), 1);
        assert_eq!(blocks("-----BEGIN A-----\n-----BEGIN B-----\n-----END B-----").collect::<Vec<_>>().len(), 1);
        assert_eq!(blocks(&"-----BEGIN ".repeat(3)).count(), 0);
    }
}
