//! Certificates by name, client certificates, tickets and the key log: everything that BoringSSL asks us.
//!
//! All that an entry decides is set on the connection's own SSL, in the servername callback. BoringSSL 5.4 calls it once per
//! connection, also without a name, after the ClientHello is parsed and before it chooses a credential, a protocol and a session; and
//! of its early callbacks it is the only one that chooses its alert. A ClientHello whose name is empty, longer than 255 bytes or holds
//! a NUL is refused before that, with unrecognized_name as well.

mod certificates;
mod keylog;
mod tickets;

pub use keylog::KeyLog;

use crate::options::{CertPair, ClientAuth, DialOptions, TlsEntry, TlsTable};
use boring::asn1::Asn1Time;
use boring::error::ErrorStack;
use boring::ex_data::Index;
use boring::sha::sha256;
use boring::ssl::{
    AlpnError, NameType, SniError, Ssl, SslAlert, SslContextBuilder, SslMethod, SslOptions, SslRef, SslVerifyMode, SslVersion,
};
use boring::stack::Stack;
use boring::x509::store::{X509Store, X509StoreBuilder};
use boring::x509::verify::X509CheckFlags;
use boring::x509::{X509, X509Name, X509Ref};
use boring_sys as ffi;
use certificates::{Identity, read_bundle, read_identity};
use foreign_types::{ForeignType, ForeignTypeRef};
use libc::c_int;
use std::collections::HashMap;
use std::collections::hash_map;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};
use tickets::TicketKeys;

/// The first has a key exchange that a quantum computer does not undo.
const GROUPS: &str = "X25519MLKEM768:X25519:P-256:P-384";
/// Names of CAs that a CertificateRequest carries, in bytes; with more none is sent (they are hints: RFC 8446 s4.2.4).
const MAX_CA_NAMES: usize = 16 * 1024;

/// The table of one endpoint. Shared with BoringSSL's callbacks; a new table counts from the next ClientHello.
pub struct Tls {
    table: Arc<RwLock<Arc<Table>>>,
}

/// What was chosen for a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    pub tls: u32,
    /// As the client wrote it, lower case, no trailing dot; None when it sent none. Bytes above 127 are characters of Latin-1.
    pub sni: Option<String>,
    pub early_data: bool,
}

impl Tls {
    /// Errors name the entry and what is wrong with it.
    pub fn new(table: &TlsTable) -> Result<Self, String> {
        let table = Table::build(table, None)?;
        Ok(Tls { table: Arc::new(RwLock::new(Arc::new(table))) })
    }

    /// All or nothing: after an error the old table holds on. Entries that are what they were keep what was made of them, and so do
    /// certificates and CAs, in whatever entry they are.
    pub fn set(&self, table: &TlsTable) -> Result<(), String> {
        let made = Table::build(table, Some(&*current(&self.table)))?;
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(made);
        Ok(())
    }

    /// For `quiche::Config::with_boring_ssl_ctx_builder`. ALPN is chosen here, by entry: `set_application_protos` of the config is not
    /// called, nor is any other of its methods that concerns TLS. Secrets go to `keylog`, of all connections.
    pub fn server_context(&self, keylog: Option<&KeyLog>) -> Result<SslContextBuilder, String> {
        let table = Arc::clone(&self.table);
        server(table, keylog.cloned()).map_err(|e| format!("TLS: {e}"))
    }
}

/// Whether a table with this pair would be taken.
pub fn judge(cert: &str, key: &str) -> Result<(), String> {
    Credential::read(cert, key).map(drop)
}

/// What the callbacks noted on this connection's SSL (`AsMut<SslRef>` of `quiche::Connection`); None before the ClientHello is read.
pub fn chosen(ssl: &SslRef) -> Option<Chosen> {
    let noted = ssl.ex_data((*NOTED)?)?;
    Some(Chosen { tls: noted.entry.source.id, sni: noted.sni.clone(), early_data: noted.entry.source.early_data })
}

/// The same for a connection that we dial: roots, name check, insecure.
pub fn client_context(o: &DialOptions) -> Result<SslContextBuilder, String> {
    if o.alpn.is_empty() {
        return Err("alpn: at least one protocol wanted".into());
    }
    let protocols = wire_protocols(&o.alpn).map_err(|what| format!("alpn: {what}"))?;
    let roots = if o.insecure { Vec::new() } else { read_bundle(&o.ca).map_err(|e| format!("ca: {e}"))? };
    client(o, &protocols, &roots).map_err(|e| format!("TLS: {e}"))
}

/// The name to give to `quiche::connect`: an address is verified, too, but never sent (RFC 6066 s3).
pub fn dial_name(o: &DialOptions) -> Option<&str> {
    o.sni.as_deref().filter(|name| name.parse::<IpAddr>().is_err())
}

// The table.

struct Table {
    entries: HashMap<u32, Arc<Entry>>,
    exact: HashMap<Vec<u8>, Arc<Entry>>,
    /// By what follows the first label: `.rest`.
    wildcards: HashMap<Vec<u8>, Arc<Entry>>,
    fallback: Option<Arc<Entry>>,
}

/// An entry, ready to be set on an SSL.
struct Entry {
    source: TlsEntry,
    credentials: Vec<Arc<Credential>>,
    authorities: Option<Arc<Authorities>>,
    /// The session id context: a session of another policy is not resumed, whoever could open its ticket.
    policy: [u8; 32],
    tickets: TicketKeys,
}

/// Who may vouch for clients.
struct Authorities {
    store: X509Store,
    subjects: Vec<X509>,
}

/// What is already parsed, by its text: certificates outlive their entries whenever ticket keys rotate.
#[derive(Default)]
struct Parsed<'a> {
    credentials: HashMap<(&'a str, &'a str), Arc<Credential>>,
    authorities: HashMap<&'a str, Arc<Authorities>>,
}

impl Table {
    fn build(table: &TlsTable, before: Option<&Table>) -> Result<Self, String> {
        let mut entries = HashMap::with_capacity(table.entries.len());
        let mut parsed: Option<Parsed> = None;
        for source in &table.entries {
            let kept = before.and_then(|b| b.entries.get(&source.id)).filter(|e| same(&e.source, source));
            let entry = match kept {
                Some(e) => Arc::clone(e),
                None => {
                    let known = parsed.get_or_insert_with(|| before.map_or_else(Parsed::default, Parsed::of));
                    Arc::new(Entry::build(source, known).map_err(|e| format!("TLS entry {}: {e}", source.id))?)
                }
            };
            match entries.entry(source.id) {
                hash_map::Entry::Vacant(free) => drop(free.insert(entry)),
                hash_map::Entry::Occupied(other) if same(&other.get().source, source) => {}
                hash_map::Entry::Occupied(_) => return Err(format!("TLS entry {}: there are two with this id", source.id)),
            }
        }
        Table::named(table, entries)
    }

    fn named(table: &TlsTable, entries: HashMap<u32, Arc<Entry>>) -> Result<Self, String> {
        let fallback = match table.fallback {
            Some(id) => Some(Arc::clone(entries.get(&id).ok_or_else(|| format!("TLS table: the fallback {id} is no entry"))?)),
            None => None,
        };
        let mut made = Table { entries, exact: HashMap::new(), wildcards: HashMap::new(), fallback };
        for (name, id) in &table.names {
            let entry = made.entries.get(id).ok_or_else(|| format!("TLS table: {name:?} names {id}, which is no entry"))?;
            let (names, key) = match name.strip_prefix('*') {
                Some(rest) if rest.starts_with('.') => (&mut made.wildcards, rest),
                _ => (&mut made.exact, name.as_str()),
            };
            names.insert(key.as_bytes().to_vec(), Arc::clone(entry));
        }
        Ok(made)
    }

    /// The exact name, then the wildcard in place of its first label, then the fallback. `name` is canonical.
    fn find(&self, name: Option<&[u8]>) -> Option<&Arc<Entry>> {
        name.and_then(|n| self.exact.get(n).or_else(|| self.wildcards.get(after_first_label(n)?))).or(self.fallback.as_ref())
    }
}

/// ASCII lower case without one final dot: no spelling of a name can select another entry.
fn canonical(name: &[u8]) -> Vec<u8> {
    name.strip_suffix(b".").unwrap_or(name).to_ascii_lowercase()
}

fn after_first_label(name: &[u8]) -> Option<&[u8]> {
    let dot = name.iter().position(|&b| b == b'.').filter(|&at| at > 0)?;
    name.get(dot..)
}

impl<'a> Parsed<'a> {
    fn of(table: &'a Table) -> Self {
        let mut known = Parsed::default();
        for entry in table.entries.values() {
            let pairs = entry.source.certs.iter().zip(&entry.credentials);
            known.credentials.extend(pairs.map(|(pair, c)| ((pair.cert.as_str(), pair.key.as_str()), Arc::clone(c))));
            if let (Some(pem), Some(authorities)) = (&entry.source.ca, &entry.authorities) {
                known.authorities.insert(pem, Arc::clone(authorities));
            }
        }
        known
    }

    fn credential(&mut self, pair: &'a CertPair) -> Result<Arc<Credential>, String> {
        match self.credentials.entry((&pair.cert, &pair.key)) {
            hash_map::Entry::Occupied(known) => Ok(Arc::clone(known.get())),
            hash_map::Entry::Vacant(free) => Ok(Arc::clone(free.insert(Arc::new(Credential::read(&pair.cert, &pair.key)?)))),
        }
    }

    fn authorities(&mut self, pem: &'a str) -> Result<Arc<Authorities>, String> {
        match self.authorities.entry(pem) {
            hash_map::Entry::Occupied(known) => Ok(Arc::clone(known.get())),
            hash_map::Entry::Vacant(free) => {
                let subjects = read_bundle(pem).map_err(|e| format!("CA: {e}"))?;
                let store = store_of(&subjects).map_err(|e| format!("CA: {e}"))?.build();
                Ok(Arc::clone(free.insert(Arc::new(Authorities { store, subjects }))))
            }
        }
    }
}

fn store_of(certs: &[X509]) -> Result<X509StoreBuilder, ErrorStack> {
    let mut store = X509StoreBuilder::new()?;
    for cert in certs {
        store.add_cert(cert)?;
    }
    Ok(store)
}

impl Entry {
    fn build<'a>(source: &'a TlsEntry, known: &mut Parsed<'a>) -> Result<Self, String> {
        if source.certs.is_empty() {
            return Err("no certificate".into());
        }
        let credentials = source.certs.iter().map(|pair| known.credential(pair)).collect::<Result<_, _>>()?;
        let authorities = match (source.client_auth, &source.ca) {
            (ClientAuth::None, _) => None,
            (ClientAuth::Request, None) => return Err("clientAuth request without a CA".into()),
            (ClientAuth::Require, None) => return Err("clientAuth require without a CA".into()),
            (_, Some(pem)) => Some(known.authorities(pem)?),
        };
        if let Some(key) = source.ticket_keys.iter().find(|k| k.0.len() != tickets::KEY_BYTES) {
            return Err(format!("ticket keys have {} bytes, not {}", tickets::KEY_BYTES, key.0.len()));
        }
        let policy = tickets::policy(source);
        let keys = TicketKeys::derive(&policy, &source.ticket_keys).map_err(|e| format!("ticket keys: {e}"))?;
        wire_protocols(&source.alpn)?;
        Ok(Entry { source: source.clone(), credentials, authorities, policy: sha256(policy.as_bytes()), tickets: keys })
    }

    /// Makes the SSL what this entry wants it to be. The context's own settings verify nobody and issue nothing.
    fn configure(&self, ssl: &mut SslRef) -> Result<(), ErrorStack> {
        for credential in &self.credentials {
            credential.add_to(ssl)?;
        }
        if let Some(authorities) = &self.authorities {
            ssl.set_verify_cert_store(authorities.store.clone())?;
            ssl.set_client_ca_list(authorities.names()?);
        }
        ssl.set_verify(match self.source.client_auth {
            ClientAuth::None => SslVerifyMode::NONE,
            ClientAuth::Request => SslVerifyMode::PEER,
            ClientAuth::Require => SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT,
        });
        set_session_id_context(ssl, &self.policy)?;
        if self.tickets.is_empty() {
            ssl.set_options(SslOptions::NO_TICKET);
        }
        set_early_data(ssl, self.source.early_data);
        Ok(())
    }

    /// None: this session gets no ticket.
    fn seal(&self, ssl: &SslRef, began: Option<u64>, session: &[u8]) -> Option<Vec<u8>> {
        let now = unix_now()?;
        let peer = ssl.peer_certificate();
        if self.source.client_auth == ClientAuth::Require && peer.is_none() {
            return None;
        }
        let chain = ssl.peer_cert_chain().into_iter().flatten();
        let deadline = deadline(peer.as_deref().into_iter().chain(chain), began, now)?;
        self.tickets.seal(deadline, session)
    }
}

/// Until when a session may be resumed: no longer than the certificates of the client hold, nor than the session that it resumed.
fn deadline<'a>(certs: impl Iterator<Item = &'a X509Ref>, began: Option<u64>, now: u64) -> Option<u64> {
    let mut deadline = began.unwrap_or(now + tickets::LIFETIME);
    for cert in certs {
        deadline = deadline.min(expiry(cert, now)?);
    }
    (deadline > now).then_some(deadline)
}

/// The same entry, letter by letter: that an id stands for one entry alone is not taken on trust.
fn same(a: &TlsEntry, b: &TlsEntry) -> bool {
    let certs = |e: &TlsEntry| e.certs.len();
    a.id == b.id
        && a.client_auth == b.client_auth
        && a.early_data == b.early_data
        && a.alpn == b.alpn
        && a.ticket_keys == b.ticket_keys
        && a.ca == b.ca
        && certs(a) == certs(b)
        && a.certs.iter().zip(&b.certs).all(|(a, b)| a.cert == b.cert && a.key == b.key)
}

fn wire_protocols(alpn: &[String]) -> Result<Vec<u8>, String> {
    if alpn.is_empty() {
        return Err("no ALPN protocol".into());
    }
    let mut wire = Vec::new();
    for protocol in alpn {
        match u8::try_from(protocol.len()) {
            Ok(length @ 1..) => {
                wire.push(length);
                wire.extend_from_slice(protocol.as_bytes());
            }
            _ => return Err(format!("ALPN protocol of {} bytes", protocol.len())),
        }
    }
    Ok(wire)
}

fn unix_now() -> Option<u64> {
    Some(SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs())
}

/// The end of a certificate's validity, in seconds since 1970; 0 when that lies in the past.
fn expiry(cert: &X509Ref, now: u64) -> Option<u64> {
    let from = Asn1Time::from_unix(i64::try_from(now).ok()?).ok()?;
    let left = from.diff(cert.not_after()).ok()?;
    let left = i64::from(left.days) * 86_400 + i64::from(left.secs);
    Some(u64::try_from(left).map_or(0, |left| now.saturating_add(left)))
}

// The contexts.

fn context() -> Result<SslContextBuilder, ErrorStack> {
    let mut builder = SslContextBuilder::new(SslMethod::tls())?;
    builder.set_min_proto_version(Some(SslVersion::TLS1_3))?;
    builder.set_max_proto_version(Some(SslVersion::TLS1_3))?;
    builder.set_curves_list(GROUPS)?;
    Ok(builder)
}

fn server(table: Arc<RwLock<Arc<Table>>>, keylog: Option<KeyLog>) -> Result<SslContextBuilder, ErrorStack> {
    let mut builder = context()?;
    builder.set_servername_callback(move |ssl, alert| {
        let refusal = guarded(Some(SslAlert::INTERNAL_ERROR), || choose(&current(&table), ssl).err());
        refusal.map_or(Ok(()), |why| {
            *alert = why;
            Err(SniError::ALERT_FATAL)
        })
    });
    builder.set_alpn_select_callback(|ssl, offered| {
        let found = guarded(None, || common_protocol(&noted(ssl)?.entry.source.alpn, offered));
        found.ok_or(AlpnError::ALERT_FATAL)
    });
    if let Some(log) = keylog {
        builder.set_keylog_callback(move |_, line| guarded((), || log.line(line)));
    }
    set_tickets(&builder);
    Ok(builder)
}

fn client(o: &DialOptions, protocols: &[u8], roots: &[X509]) -> Result<SslContextBuilder, ErrorStack> {
    let mut builder = context()?;
    builder.set_alpn_protos(protocols)?;
    if o.insecure {
        builder.set_verify(SslVerifyMode::NONE);
        return Ok(builder);
    }
    let mut store = store_of(roots)?;
    // Verified here, and by nobody who could forget it: a name that quiche sends is the same one. The subject is no name (RFC 9525 s2).
    let rules = store.verify_param_mut();
    rules.set_hostflags(X509CheckFlags::NEVER_CHECK_SUBJECT);
    match dial_name(o) {
        Some(name) => rules.set_host(name)?,
        None => rules.set_ip(o.sni.as_deref().and_then(|ip| ip.parse().ok()).unwrap_or(o.host))?,
    }
    builder.set_cert_store_builder(store);
    builder.set_verify(SslVerifyMode::PEER);
    Ok(builder)
}

// What BoringSSL calls. A panic must not cross it: every callback is guarded.

/// On each SSL that has chosen its entry.
struct Noted {
    entry: Arc<Entry>,
    sni: Option<String>,
    /// Of the ticket that was opened: what is issued next ends no later.
    deadline: Option<u64>,
}

/// An index of our own: quiche keeps its data under another, and only while it is inside BoringSSL.
static NOTED: LazyLock<Option<Index<Ssl, Noted>>> = LazyLock::new(|| Ssl::new_ex_index().ok());

fn noted(ssl: &SslRef) -> Option<&Noted> {
    ssl.ex_data((*NOTED)?)
}

fn current(table: &RwLock<Arc<Table>>) -> Arc<Table> {
    Arc::clone(&table.read().unwrap_or_else(PoisonError::into_inner))
}

fn guarded<T>(otherwise: T, f: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or(otherwise)
}

fn choose(table: &Table, ssl: &mut SslRef) -> Result<(), SslAlert> {
    let index = NOTED.ok_or(SslAlert::INTERNAL_ERROR)?;
    let name = ssl.servername_raw(NameType::HOST_NAME).map(canonical);
    let entry = table.find(name.as_deref()).ok_or(SslAlert::UNRECOGNIZED_NAME)?;
    entry.configure(ssl).map_err(|_| SslAlert::INTERNAL_ERROR)?;
    let sni = name.map(|n| n.iter().copied().map(char::from).collect());
    ssl.set_ex_data(index, Noted { entry: Arc::clone(entry), sni, deadline: None });
    Ok(())
}

/// The client's first protocol that the entry has, as a part of `offered`.
fn common_protocol<'a>(ours: &[String], offered: &'a [u8]) -> Option<&'a [u8]> {
    let mut rest = offered;
    while let Some((&length, after)) = rest.split_first() {
        let (protocol, next) = after.split_at_checked(usize::from(length))?;
        if ours.iter().any(|p| p.as_bytes() == protocol) {
            return Some(protocol);
        }
        rest = next;
    }
    None
}

static TICKETS: ffi::SSL_TICKET_AEAD_METHOD =
    ffi::ssl_ticket_aead_method_st { max_overhead: Some(ticket_overhead), seal: Some(seal_ticket), open: Some(open_ticket) };

unsafe extern "C" fn ticket_overhead(_: *mut ffi::SSL) -> usize {
    tickets::OVERHEAD
}

/// Success with nothing written is a session without a ticket.
unsafe extern "C" fn seal_ticket(
    ssl: *mut ffi::SSL,
    out: *mut u8,
    out_len: *mut usize,
    max_out: usize,
    session: *const u8,
    length: usize,
) -> c_int {
    // SAFETY: BoringSSL lends its SSL, `length` bytes of the session and room for a length, all for this call.
    let (ssl, session, out_len) = unsafe { (SslRef::from_ptr(ssl), std::slice::from_raw_parts(session, length), &mut *out_len) };
    let ticket = guarded(None, || {
        let noted = noted(ssl)?;
        noted.entry.seal(ssl, noted.deadline, session)
    });
    // SAFETY: `out` has room for `max_out` bytes.
    *out_len = ticket.map_or(0, |t| unsafe { hand_over(&t, out, max_out) }.unwrap_or(0));
    1
}

/// A ticket that cannot be opened is ignored: the handshake goes on in full.
unsafe extern "C" fn open_ticket(
    ssl: *mut ffi::SSL,
    out: *mut u8,
    out_len: *mut usize,
    max_out: usize,
    ticket: *const u8,
    length: usize,
) -> ffi::ssl_ticket_aead_result_t {
    // SAFETY: BoringSSL lends its SSL, `length` bytes of the ticket and room for a length, all for this call. Nothing else refers to
    // the SSL while this callback runs.
    let (ssl, ticket, out_len) = unsafe { (SslRef::from_ptr_mut(ssl), std::slice::from_raw_parts(ticket, length), &mut *out_len) };
    let session = guarded(None, || {
        let noted = ssl.ex_data_mut((*NOTED)?)?;
        let (deadline, session) = noted.entry.tickets.open(ticket, unix_now()?)?;
        noted.deadline = Some(deadline);
        Some(session)
    });
    // SAFETY: `out` has room for `max_out` bytes.
    let taken = session.and_then(|s| unsafe { hand_over(&s, out, max_out) });
    *out_len = taken.unwrap_or(0);
    match taken {
        Some(_) => ffi::ssl_ticket_aead_result_t::ssl_ticket_aead_success,
        None => ffi::ssl_ticket_aead_result_t::ssl_ticket_aead_ignore_ticket,
    }
}

/// How much was written; None when there is not enough room.
///
/// # Safety
/// `out` has room for `max_out` bytes and is no part of `bytes`.
unsafe fn hand_over(bytes: &[u8], out: *mut u8, max_out: usize) -> Option<usize> {
    if bytes.len() > max_out {
        return None;
    }
    // SAFETY: the caller's promise, and the check above.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), out, bytes.len()) };
    Some(bytes.len())
}

// What the crate `boring` has no safe name for.

impl Authorities {
    /// A copy for one SSL, which will own it; empty when there are too many.
    fn names(&self) -> Result<Stack<X509Name>, ErrorStack> {
        let mut names = Stack::new()?;
        let mut total = 0;
        for cert in &self.subjects {
            let subject = cert.subject_name();
            // SAFETY: a valid name is copied; the copy, when there is one, is ours alone.
            let (copy, length) =
                unsafe { (ffi::X509_NAME_dup(subject.as_ptr()), ffi::i2d_X509_NAME(subject.as_ptr(), std::ptr::null_mut())) };
            if copy.is_null() {
                return Err(ErrorStack::get());
            }
            // SAFETY: not null, and not freed by anybody else.
            names.push(unsafe { X509Name::from_ptr(copy) })?;
            total += usize::try_from(length).unwrap_or(0);
        }
        if total > MAX_CA_NAMES { Stack::new() } else { Ok(names) }
    }
}

/// A chain with its key, which any number of SSLs may refer to.
struct Credential(NonNull<ffi::SSL_CREDENTIAL>);

// SAFETY: counted atomically by BoringSSL, and never changed once it is made.
unsafe impl Send for Credential {}
// SAFETY: as above.
unsafe impl Sync for Credential {}

impl Credential {
    fn read(cert: &str, key: &str) -> Result<Self, String> {
        let identity = read_identity(cert, key)?;
        Credential::of(&identity).map_err(|e| format!("the certificate cannot be used: {e}"))
    }

    fn of(identity: &Identity) -> Result<Self, ErrorStack> {
        let ders = identity.chain.iter().map(|c| c.to_der()).collect::<Result<Vec<_>, _>>()?;
        // SAFETY: makes a new one or says null.
        let made = Credential(NonNull::new(unsafe { ffi::SSL_CREDENTIAL_new_x509() }).ok_or_else(ErrorStack::get)?);
        // SAFETY: each buffer is a copy of its bytes and freed here; the credential counts its own references to buffers and key.
        let done = unsafe {
            let buffers: Vec<_> = ders.iter().map(|d| ffi::CRYPTO_BUFFER_new(d.as_ptr(), d.len(), std::ptr::null_mut())).collect();
            let done = buffers.iter().all(|b| !b.is_null())
                && ffi::SSL_CREDENTIAL_set1_cert_chain(made.0.as_ptr(), buffers.as_ptr(), buffers.len()) == 1
                && ffi::SSL_CREDENTIAL_set1_private_key(made.0.as_ptr(), identity.key.as_ptr()) == 1;
            buffers.into_iter().for_each(|b| ffi::CRYPTO_BUFFER_free(b));
            done
        };
        if done { Ok(made) } else { Err(ErrorStack::get()) }
    }

    fn add_to(&self, ssl: &mut SslRef) -> Result<(), ErrorStack> {
        // SAFETY: both are valid; the SSL counts its own reference.
        match unsafe { ffi::SSL_add1_credential(ssl.as_ptr(), self.0.as_ptr()) } {
            1 => Ok(()),
            _ => Err(ErrorStack::get()),
        }
    }
}

impl Drop for Credential {
    fn drop(&mut self) {
        // SAFETY: our reference, given back once.
        unsafe { ffi::SSL_CREDENTIAL_free(self.0.as_ptr()) };
    }
}

fn set_session_id_context(ssl: &mut SslRef, context: &[u8; 32]) -> Result<(), ErrorStack> {
    // SAFETY: the bytes are copied; 32 are as many as there may be.
    match unsafe { ffi::SSL_set_session_id_context(ssl.as_ptr(), context.as_ptr(), context.len()) } {
        1 => Ok(()),
        _ => Err(ErrorStack::get()),
    }
}

fn set_early_data(ssl: &mut SslRef, enabled: bool) {
    // SAFETY: sets a flag of a valid SSL.
    unsafe { ffi::SSL_set_early_data_enabled(ssl.as_ptr(), c_int::from(enabled)) };
}

fn set_tickets(builder: &SslContextBuilder) {
    // SAFETY: a valid context; the table of functions is static.
    unsafe {
        ffi::SSL_CTX_set_ticket_aead_method(builder.as_ptr(), &TICKETS);
        ffi::SSL_CTX_set_session_psk_dhe_timeout(builder.as_ptr(), tickets::LIFETIME as u32);
    }
}

/// XKU bits; all of them when the certificate does not say.
fn extended_key_usage(cert: &X509Ref) -> u32 {
    // SAFETY: reads a valid certificate.
    unsafe { ffi::X509_get_extended_key_usage(cert.as_ptr()) }
}

/// Whether BoringSSL could read its extensions, and found no two of them that contradict each other: what it says of others is worth nothing.
fn sound_extensions(cert: &X509Ref) -> bool {
    // SAFETY: reads a valid certificate.
    let flags = unsafe { ffi::X509_get_extension_flags(cert.as_ptr()) };
    flags & ffi::EXFLAG_INVALID as u32 == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use boring::ec::{EcGroup, EcKey};
    use boring::hash::MessageDigest;
    use boring::nid::Nid;
    use boring::pkey::PKey;

    const NOW: u64 = 1_800_000_000;

    fn until(end: u64) -> X509 {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
        let mut b = X509::builder().unwrap();
        b.set_pubkey(&key).unwrap();
        b.set_not_before(&Asn1Time::from_unix(0).unwrap()).unwrap();
        b.set_not_after(&Asn1Time::from_unix(end as i64).unwrap()).unwrap();
        b.sign(&key, MessageDigest::sha256()).unwrap();
        b.build()
    }

    #[test]
    fn a_session_ends_with_what_it_rests_on() {
        let (short, long, past) = (until(NOW + 3_600), until(NOW + 30 * 86_400), until(NOW - 5));
        let of = |certs: &[&X509], began| deadline(certs.iter().map(|c| &***c), began, NOW);
        assert_eq!(of(&[], None), Some(NOW + 86_400));
        assert_eq!(of(&[&long], None), Some(NOW + 86_400));
        assert_eq!(of(&[&long, &short], None), Some(NOW + 3_600));
        assert_eq!(of(&[&short], Some(NOW + 10)), Some(NOW + 10));
        assert_eq!(of(&[], Some(NOW + 10)), Some(NOW + 10));
        assert_eq!(of(&[], Some(NOW)), None);
        assert_eq!(of(&[&past], None), None);
    }

    #[test]
    fn protocols_are_found_within_bounds() {
        let ours = ["h3".to_owned()];
        assert_eq!(common_protocol(&ours, b"\x02xx\x02h3"), Some(&b"h3"[..]));
        for bad in [&b""[..], b"\x00", b"\x03h3", b"\x02h", b"\xff", b"\x01h\x013", b"\x02H3"] {
            assert_eq!(common_protocol(&ours, bad), None);
        }
    }

    #[test]
    fn a_panic_becomes_an_answer() {
        assert_eq!(guarded(7, || panic!("on purpose")), 7);
        assert_eq!(guarded(7, || 8), 8);
    }
}
