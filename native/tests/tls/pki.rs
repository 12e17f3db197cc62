//! Certificates of all kinds, made on the spot.

use boring::asn1::Asn1Time;
use boring::bn::{BigNum, MsbOption};
use boring::ec::{EcGroup, EcKey};
use boring::hash::MessageDigest;
use boring::nid::Nid;
use boring::pkey::{Id, PKey, Private};
use boring::rsa::Rsa;
use boring::x509::extension::{BasicConstraints, ExtendedKeyUsage, SubjectAlternativeName};
use boring::x509::{X509, X509NameBuilder};
use std::time::{SystemTime, UNIX_EPOCH};

#[derive(Clone)]
pub struct Cert {
    pub cert: X509,
    pub key: PKey<Private>,
}

impl Cert {
    pub fn pem(&self) -> String {
        String::from_utf8(self.cert.to_pem().unwrap()).unwrap()
    }
    pub fn der(&self) -> Vec<u8> {
        self.cert.to_der().unwrap()
    }
    pub fn key_pem(&self) -> String {
        String::from_utf8(self.key.private_key_to_pem_pkcs8().unwrap()).unwrap()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Use {
    Server,
    Client,
    Unsaid,
}

pub struct Wanted<'a> {
    pub name: &'a str,
    pub key: PKey<Private>,
    pub issuer: Option<&'a Cert>,
    pub ca: bool,
    pub usage: Use,
    /// Relative to now, in seconds.
    pub valid: (i64, i64),
    pub ip: Option<&'a str>,
}

pub fn ec(curve: Nid) -> PKey<Private> {
    let group = EcGroup::from_curve_name(curve).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

pub fn p256() -> PKey<Private> {
    ec(Nid::X9_62_PRIME256V1)
}

pub fn rsa(bits: u32) -> PKey<Private> {
    PKey::from_rsa(Rsa::generate(bits).unwrap()).unwrap()
}

pub fn ed25519() -> PKey<Private> {
    PKey::generate(Id::ED25519).unwrap()
}

pub fn make(w: &Wanted) -> Cert {
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("CN", w.name).unwrap();
    let name = name.build();
    let mut b = X509::builder().unwrap();
    b.set_version(2).unwrap();
    let mut serial = BigNum::new().unwrap();
    serial.rand(127, MsbOption::MAYBE_ZERO, false).unwrap();
    b.set_serial_number(&serial.to_asn1_integer().unwrap()).unwrap();
    b.set_subject_name(&name).unwrap();
    b.set_issuer_name(w.issuer.map_or(&*name, |i| i.cert.subject_name())).unwrap();
    b.set_pubkey(&w.key).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    b.set_not_before(&Asn1Time::from_unix(now + w.valid.0).unwrap()).unwrap();
    b.set_not_after(&Asn1Time::from_unix(now + w.valid.1).unwrap()).unwrap();
    if w.ca {
        b.append_extension(&BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
    } else {
        let mut names = SubjectAlternativeName::new();
        match w.ip {
            Some(ip) => names.ip(ip),
            None => names.dns(w.name),
        };
        let names = names.build(&b.x509v3_context(None, None)).unwrap();
        b.append_extension(&names).unwrap();
    }
    match w.usage {
        Use::Server => b.append_extension(&ExtendedKeyUsage::new().server_auth().build().unwrap()).unwrap(),
        Use::Client => b.append_extension(&ExtendedKeyUsage::new().client_auth().build().unwrap()).unwrap(),
        Use::Unsaid => {}
    }
    b.sign(w.issuer.map_or(&w.key, |i| &i.key), MessageDigest::sha256()).unwrap();
    Cert { cert: b.build(), key: w.key.clone() }
}

pub const YEAR: (i64, i64) = (-3600, 365 * 86_400);

pub fn ca(name: &str) -> Cert {
    make(&Wanted { name, key: p256(), issuer: None, ca: true, usage: Use::Unsaid, valid: YEAR, ip: None })
}

pub fn leaf(issuer: &Cert, name: &str, key: PKey<Private>, usage: Use) -> Cert {
    make(&Wanted { name, key, issuer: Some(issuer), ca: false, usage, valid: YEAR, ip: None })
}

pub fn server(issuer: &Cert, name: &str) -> Cert {
    leaf(issuer, name, p256(), Use::Server)
}
