//! One authority and one server certificate for all tests of a process.

use boring::asn1::Asn1Time;
use boring::bn::{BigNum, MsbOption};
use boring::ec::{EcGroup, EcKey};
use boring::hash::MessageDigest;
use boring::nid::Nid;
use boring::pkey::{PKey, Private};
use boring::x509::extension::{BasicConstraints, SubjectAlternativeName};
use boring::x509::{X509, X509NameBuilder};
use std::sync::OnceLock;

pub struct Pem {
    pub ca: String,
    pub cert: String,
    pub key: String,
}

pub fn pem() -> &'static Pem {
    static PEM: OnceLock<Pem> = OnceLock::new();
    PEM.get_or_init(make)
}

fn make() -> Pem {
    let (ca, ca_key) = issue("ca", None);
    let (cert, key) = issue("localhost", Some((&ca, &ca_key)));
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Pem { ca: text(ca.to_pem().unwrap()), cert: text(cert.to_pem().unwrap()), key: text(key.private_key_to_pem_pkcs8().unwrap()) }
}

fn issue(name: &str, by: Option<(&X509, &PKey<Private>)>) -> (X509, PKey<Private>) {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let mut subject = X509NameBuilder::new().unwrap();
    subject.append_entry_by_text("CN", name).unwrap();
    let subject = subject.build();
    let mut b = X509::builder().unwrap();
    b.set_version(2).unwrap();
    let mut serial = BigNum::new().unwrap();
    serial.rand(127, MsbOption::MAYBE_ZERO, false).unwrap();
    b.set_serial_number(&serial.to_asn1_integer().unwrap()).unwrap();
    b.set_subject_name(&subject).unwrap();
    b.set_issuer_name(by.map_or(&*subject, |(ca, _)| ca.subject_name())).unwrap();
    b.set_pubkey(&key).unwrap();
    b.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    b.set_not_after(&Asn1Time::days_from_now(30).unwrap()).unwrap();
    match by {
        None => b.append_extension(&BasicConstraints::new().critical().ca().build().unwrap()).unwrap(),
        Some((ca, _)) => {
            let context = b.x509v3_context(Some(ca), None);
            let names = SubjectAlternativeName::new().dns("localhost").ip("127.0.0.1").ip("::1").build(&context).unwrap();
            b.append_extension(&names).unwrap();
        }
    }
    b.sign(by.map_or(&key, |(_, k)| k), MessageDigest::sha256()).unwrap();
    (b.build(), key)
}
