//! The only file that knows Node: N-API (arguments, answers, callbacks, buffers) and libuv (descriptors, timers) behind safe names.
//!
//! The SAFETY notes below rest on four rules:
//!
//! 1. `env`: an `Env` holds a raw pointer, so it stays on the thread that Node gave it to; whatever keeps one is dropped no later than
//!    the environment's cleanup hook (`Loop`), at which time the environment still stands.
//! 2. `local`: JavaScript values live no longer than the call or the handle scope in which they were made, and never leave this file.
//! 3. `handle`: a libuv handle lives inside its `Watch`, which only `on_closed` frees, and libuv calls nothing on a handle after that.
//! 4. `unwind`: nothing unwinds into C. Every `extern "C"` function here does its work inside `guard`.

use napi_sys as sys;
use std::alloc::{self, Layout};
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::ffi::{c_char, c_int, c_void};
use std::os::fd::RawFd;
use std::panic::{self, AssertUnwindSafe};
use std::ptr::{self, NonNull};
use std::rc::{Rc, Weak};
use std::sync::{Arc, Once};

/// The longest text that JavaScript may hand over: options with many thousand certificates.
const TEXT_LIMIT: usize = 128 << 20;
/// The longest message of an exception that is repeated.
const EXCEPTION_LIMIT: usize = 4096;
const MAX_ARGUMENTS: usize = 8;

// ---------------------------------------------------------------------------------------------------------------- unwinding

thread_local! {
    static LAST_PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs `f`; a panic becomes its message, with the place where it happened.
pub fn guard<R>(f: impl FnOnce() -> R) -> Result<R, String> {
    panic::catch_unwind(AssertUnwindSafe(f)).map_err(|_| {
        let noted = LAST_PANIC.with(|last| last.try_borrow_mut().ok().and_then(|mut l| l.take()));
        noted.unwrap_or_else(|| String::from("panicked"))
    })
}

/// Panics are told by `guard`, once, and not on the standard error.
fn note_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        panic::set_hook(Box::new(|info| {
            let text = info.to_string().replace('\n', " ");
            LAST_PANIC.with(|last| {
                if let Ok(mut l) = last.try_borrow_mut() {
                    *l = Some(text);
                }
            });
        }));
    });
}

// ------------------------------------------------------------------------------------------------------------------- errors

/// What an export throws.
#[derive(Debug)]
pub struct Failure {
    /// As Node names system errors.
    pub code: Option<String>,
    pub message: String,
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Failure { code: None, message }
    }
}

impl From<&str> for Failure {
    fn from(message: &str) -> Self {
        Failure::from(String::from(message))
    }
}

// -------------------------------------------------------------------------------------------------------------- environment

/// Node's environment: one per thread that loaded this module.
#[derive(Clone, Copy)]
pub struct Env(sys::napi_env);

impl Env {
    fn check(self, status: sys::napi_status, doing: &str) -> Result<(), Failure> {
        if status == sys::Status::napi_ok {
            return Ok(());
        }
        Err(Failure::from(format!("Node refused {doing} ({status})")))
    }

    /// Tells the garbage collector what is held for JavaScript outside of its heap.
    pub fn adjust_memory(self, change: i64) {
        let mut total = 0;
        // SAFETY: env. A failure changes nothing that we could mend.
        unsafe { sys::napi_adjust_external_memory(self.0, change, &mut total) };
    }

    fn undefined(self) -> sys::napi_value {
        let mut value = ptr::null_mut();
        // SAFETY: env; the answer is local.
        unsafe { sys::napi_get_undefined(self.0, &mut value) };
        value
    }

    fn text(self, text: &str) -> Result<sys::napi_value, Failure> {
        let mut value = ptr::null_mut();
        // SAFETY: env; the pointer and the length are a str's, and Node copies; the answer is local.
        let status = unsafe { sys::napi_create_string_utf8(self.0, text.as_ptr().cast::<c_char>(), text.len() as isize, &mut value) };
        self.check(status, "a string")?;
        Ok(value)
    }

    /// At most `limit` bytes of a string; None when it is none, or longer.
    fn text_of(self, value: sys::napi_value, limit: usize) -> Option<String> {
        let mut length = 0;
        // SAFETY: env, local. Without a buffer Node answers the length alone.
        let status = unsafe { sys::napi_get_value_string_utf8(self.0, value, ptr::null_mut(), 0, &mut length) };
        if status != sys::Status::napi_ok || length > limit {
            return None;
        }
        let mut bytes = vec![0_u8; length + 1];
        // SAFETY: env, local. Node writes at most `bytes.len()` bytes, its terminating zero among them.
        let status =
            unsafe { sys::napi_get_value_string_utf8(self.0, value, bytes.as_mut_ptr().cast::<c_char>(), bytes.len(), &mut length) };
        if status != sys::Status::napi_ok {
            return None;
        }
        bytes.truncate(length);
        Some(String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()))
    }

    /// The first `limit` bytes of a string, however long it is.
    fn beginning_of(self, value: sys::napi_value, limit: usize) -> Option<String> {
        let mut bytes = vec![0_u8; limit + 1];
        let mut length = 0;
        // SAFETY: env, local. Node writes at most `bytes.len()` bytes, its terminating zero among them.
        let status =
            unsafe { sys::napi_get_value_string_utf8(self.0, value, bytes.as_mut_ptr().cast::<c_char>(), bytes.len(), &mut length) };
        bytes.truncate(length);
        (status == sys::Status::napi_ok).then(|| String::from_utf8_lossy(&bytes).into_owned())
    }

    fn number_of(self, value: sys::napi_value) -> Option<f64> {
        let mut number = 0.0;
        // SAFETY: env, local.
        let status = unsafe { sys::napi_get_value_double(self.0, value, &mut number) };
        (status == sys::Status::napi_ok).then_some(number)
    }

    /// Takes the exception that is pending, so that none is left behind, and says what it was.
    fn take_exception(self) -> String {
        let mut exception = ptr::null_mut();
        // SAFETY: env; the answer is local.
        let status = unsafe { sys::napi_get_and_clear_last_exception(self.0, &mut exception) };
        if status != sys::Status::napi_ok {
            return String::from("JavaScript does not run any more");
        }
        let mut text = ptr::null_mut();
        // SAFETY: env, local. This may run JavaScript (toString), which may throw again: that exception is taken too.
        let status = unsafe { sys::napi_coerce_to_string(self.0, exception, &mut text) };
        if status != sys::Status::napi_ok {
            // SAFETY: env; the answer is local and not used.
            unsafe { sys::napi_get_and_clear_last_exception(self.0, &mut exception) };
            return String::from("an exception without a text");
        }
        self.beginning_of(text, EXCEPTION_LIMIT).unwrap_or_default()
    }

    fn throw(self, failure: &Failure) {
        let mut error = ptr::null_mut();
        let code = failure.code.as_deref().and_then(|c| self.text(c).ok()).unwrap_or(ptr::null_mut());
        if let Ok(message) = self.text(&failure.message) {
            // SAFETY: env, local; a null code is Node's "without one". When an exception is pending already both refuse, and that one
            // is what JavaScript sees.
            unsafe {
                if sys::napi_create_error(self.0, code, message, &mut error) == sys::Status::napi_ok {
                    sys::napi_throw(self.0, error);
                }
            }
        }
    }
}

// ------------------------------------------------------------------------------------------------------------------ exports

/// A function of the addon. Register it with `Module::define`, which is the only way: there unwinding is caught.
pub struct Export {
    pub name: &'static str,
    /// Fewer are an error.
    pub arguments: usize,
    pub run: fn(&Call<'_>) -> Result<Answer, Failure>,
}

/// One call from JavaScript: its arguments, checked as they are read.
pub struct Call<'c> {
    env: Env,
    export: &'c Export,
    arguments: [sys::napi_value; MAX_ARGUMENTS],
}

/// An object's, in their order.
pub type Fields = Vec<(&'static str, Answer)>;

/// What an export gives back.
pub enum Answer {
    Undefined,
    Null,
    Number(f64),
    Text(String),
    Numbers(Vec<f64>),
    Memory(Arc<Memory>),
    Object(Fields),
}

impl Call<'_> {
    pub fn env(&self) -> Env {
        self.env
    }

    fn argument(&self, i: usize) -> sys::napi_value {
        self.arguments.get(i).copied().unwrap_or_else(|| self.env.undefined())
    }

    fn wanted(&self, i: usize, what: &str) -> Failure {
        Failure {
            code: Some(String::from("ERR_INVALID_ARG_TYPE")),
            message: format!("{}: argument {}: {what} wanted", self.export.name, i + 1),
        }
    }

    /// A whole number from 0 to 2^32 - 1.
    pub fn whole(&self, i: usize) -> Result<u32, Failure> {
        let number = self.env.number_of(self.argument(i)).unwrap_or(-1.0);
        // The cast saturates and drops fractions (NaN is 0), so that only whole numbers in the range come back unchanged.
        let whole = number as u32;
        if f64::from(whole) == number { Ok(whole) } else { Err(self.wanted(i, "a whole number of 32 bits")) }
    }

    pub fn text(&self, i: usize) -> Result<String, Failure> {
        self.env.text_of(self.argument(i), TEXT_LIMIT).ok_or_else(|| self.wanted(i, "a string"))
    }

    /// A copy of a Uint8Array (a Buffer is one) of at most `limit` bytes.
    pub fn bytes(&self, i: usize, limit: usize) -> Result<Vec<u8>, Failure> {
        let (mut kind, mut length, mut data) = (-1, 0, ptr::null_mut());
        // SAFETY: env, local. Results that are not asked for may be null.
        let status = unsafe {
            sys::napi_get_typedarray_info(self.env.0, self.argument(i), &mut kind, &mut length, &mut data, ptr::null_mut(), ptr::null_mut())
        };
        if status != sys::Status::napi_ok || kind != sys::TypedarrayType::uint8_array || length > limit {
            return Err(self.wanted(i, &format!("a Uint8Array of at most {limit} bytes")));
        }
        if length == 0 || data.is_null() {
            return Ok(Vec::new());
        }
        // SAFETY: Node says that `length` bytes lie at `data`, and JavaScript cannot run and detach them while they are copied.
        Ok(unsafe { std::slice::from_raw_parts(data.cast::<u8>(), length) }.to_vec())
    }

    pub fn function(&self, i: usize) -> Result<Callback, Failure> {
        let mut kind = -1;
        // SAFETY: env, local.
        let status = unsafe { sys::napi_typeof(self.env.0, self.argument(i), &mut kind) };
        if status != sys::Status::napi_ok || kind != sys::ValueType::napi_function {
            return Err(self.wanted(i, "a function"));
        }
        Callback::new(self.env, self.argument(i))
    }

    /// What `Module::keep` kept.
    pub fn state<T: 'static>(&self) -> Result<Rc<T>, Failure> {
        let mut data = ptr::null_mut();
        // SAFETY: env. What is there is null, or the pointer that `keep` set, which only `forget_state` frees, with the environment.
        let kept = unsafe {
            sys::napi_get_instance_data(self.env.0, &mut data);
            data.cast::<Rc<dyn Any>>().as_ref()
        };
        kept.and_then(|rc| Rc::clone(rc).downcast::<T>().ok()).ok_or_else(|| Failure::from("the environment is gone"))
    }
}

impl Answer {
    fn value(self, env: Env) -> Result<sys::napi_value, Failure> {
        let mut value = ptr::null_mut();
        let status = match self {
            Answer::Undefined => return Ok(env.undefined()),
            // SAFETY: env; the answer is local.
            Answer::Null => unsafe { sys::napi_get_null(env.0, &mut value) },
            // SAFETY: env; the answer is local.
            Answer::Number(n) => unsafe { sys::napi_create_double(env.0, n, &mut value) },
            Answer::Text(text) => return env.text(&text),
            Answer::Numbers(numbers) => return Answer::array(env, &numbers),
            Answer::Memory(memory) => return memory.value(env),
            Answer::Object(fields) => return Answer::object(env, fields),
        };
        env.check(status, "a value")?;
        Ok(value)
    }

    fn array(env: Env, numbers: &[f64]) -> Result<sys::napi_value, Failure> {
        let mut array = ptr::null_mut();
        // SAFETY: env; the answer is local.
        env.check(unsafe { sys::napi_create_array_with_length(env.0, numbers.len(), &mut array) }, "an array")?;
        for (i, n) in numbers.iter().enumerate() {
            let number = Answer::Number(*n).value(env)?;
            // SAFETY: env, local.
            env.check(unsafe { sys::napi_set_element(env.0, array, i as u32, number) }, "an element")?;
        }
        Ok(array)
    }

    fn object(env: Env, fields: Fields) -> Result<sys::napi_value, Failure> {
        let mut object = ptr::null_mut();
        // SAFETY: env; the answer is local.
        env.check(unsafe { sys::napi_create_object(env.0, &mut object) }, "an object")?;
        for (name, answer) in fields {
            let (name, value) = (env.text(name)?, answer.value(env)?);
            // SAFETY: env, local.
            env.check(unsafe { sys::napi_set_property(env.0, object, name, value) }, "a property")?;
        }
        Ok(object)
    }
}

/// What JavaScript calls, whatever export it calls.
unsafe extern "C" fn trampoline(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
    let env = Env(env);
    let outcome = guard(|| {
        let (mut count, mut data) = (MAX_ARGUMENTS, ptr::null_mut());
        let mut arguments = [ptr::null_mut(); MAX_ARGUMENTS];
        // SAFETY: env; Node writes at most `count` arguments, fills the rest with undefined, and all are local.
        let status = unsafe { sys::napi_get_cb_info(env.0, info, &mut count, arguments.as_mut_ptr(), ptr::null_mut(), &mut data) };
        env.check(status, "the arguments")?;
        // SAFETY: `define` gave a &'static Export as data.
        let export = unsafe { &*data.cast::<Export>() };
        if count < export.arguments {
            return Err(Failure::from(format!("{} takes {} arguments", export.name, export.arguments)));
        }
        (export.run)(&Call { env, export, arguments })?.value(env)
    });
    match outcome.unwrap_or_else(|message| Err(Failure::from(message))) {
        Ok(value) => value,
        Err(failure) => {
            env.throw(&failure);
            ptr::null_mut()
        }
    }
}

// ------------------------------------------------------------------------------------------------------------------- module

/// The module while it is being loaded.
pub struct Module {
    env: Env,
    exports: sys::napi_value,
}

impl Module {
    /// Makes each export a function of the module, behind the one wrapper that catches unwinding.
    pub fn define(&self, table: &'static [Export]) -> Result<(), Failure> {
        for export in table {
            let mut function = ptr::null_mut();
            let name = self.env.text(export.name)?;
            // SAFETY: env; the data is 'static.
            let status = unsafe {
                sys::napi_create_function(
                    self.env.0,
                    export.name.as_ptr().cast::<c_char>(),
                    export.name.len() as isize,
                    Some(trampoline),
                    ptr::from_ref(export).cast_mut().cast::<c_void>(),
                    &mut function,
                )
            };
            self.env.check(status, "a function")?;
            // SAFETY: env, local.
            self.env.check(unsafe { sys::napi_set_property(self.env.0, self.exports, name, function) }, "an export")?;
        }
        Ok(())
    }

    /// This thread's loop. When the environment ends, `leave` is called and must drop every handle and callback.
    pub fn event_loop(&self, leave: impl Fn() + 'static) -> Result<Rc<Loop>, Failure> {
        let mut raw = ptr::null_mut();
        // SAFETY: env.
        self.env.check(unsafe { sys::napi_get_uv_event_loop(self.env.0, &mut raw) }, "its loop")?;
        let lane = Rc::new(Loop { raw, handles: Cell::new(0), leave: Box::new(leave), left: Cell::new(None) });
        // SAFETY: env; the hook owns one count of the Rc, which `on_leave` gives back to it.
        let status = unsafe {
            let data = Rc::into_raw(Rc::clone(&lane)).cast_mut().cast::<c_void>();
            sys::napi_add_async_cleanup_hook(self.env.0, Some(on_leave), data, ptr::null_mut())
        };
        self.env.check(status, "a cleanup hook")?;
        Ok(lane)
    }

    /// Keeps `state` with this environment for `Call::state`.
    pub fn keep(&self, state: Rc<dyn Any>) -> Result<(), Failure> {
        let data = Box::into_raw(Box::new(state)).cast::<c_void>();
        // SAFETY: env; the box belongs to Node until it calls `forget_state`.
        self.env.check(unsafe { sys::napi_set_instance_data(self.env.0, data, Some(forget_state), ptr::null_mut()) }, "instance data")
    }
}

unsafe extern "C" fn forget_state(_env: sys::napi_env, data: *mut c_void, _hint: *mut c_void) {
    // SAFETY: the box that `keep` gave away, once. By now the cleanup hook has emptied what it holds. A panic in a drop ends here: unwind.
    let _ = guard(|| drop(unsafe { Box::from_raw(data.cast::<Rc<dyn Any>>()) }));
}

/// Node looks for this name when it loads the file.
// SAFETY: the symbol's name and type are Node-API's.
#[unsafe(no_mangle)]
unsafe extern "C" fn napi_register_module_v1(env: sys::napi_env, exports: sys::napi_value) -> sys::napi_value {
    note_panics();
    crate::memory::set_up();
    let env = Env(env);
    match guard(|| crate::exports::register(&Module { env, exports })).unwrap_or_else(|m| Err(Failure::from(m))) {
        Ok(()) => exports,
        Err(failure) => {
            env.throw(&failure);
            ptr::null_mut()
        }
    }
}

/// The Node-API version that this file was written for.
// SAFETY: the symbol's name and type are Node-API's.
#[unsafe(no_mangle)]
extern "C" fn node_api_module_get_api_version_v1() -> i32 {
    8
}

// ---------------------------------------------------------------------------------------------------------------- callbacks

/// A function of JavaScript's, kept until this is dropped.
pub struct Callback {
    env: Env,
    function: sys::napi_ref,
    context: sys::napi_async_context,
}

impl Callback {
    fn new(env: Env, function: sys::napi_value) -> Result<Self, Failure> {
        let (mut context, mut reference) = (ptr::null_mut(), ptr::null_mut());
        let name = env.text("SpookyQuic")?;
        // SAFETY: env, local. Without a resource Node makes one.
        env.check(unsafe { sys::napi_async_init(env.0, ptr::null_mut(), name, &mut context) }, "an async context")?;
        // SAFETY: env, local.
        let status = unsafe { sys::napi_create_reference(env.0, function, 1, &mut reference) };
        let callback = Callback { env, function: reference, context };
        env.check(status, "a reference")?;
        Ok(callback)
    }

    pub fn env(&self) -> Env {
        self.env
    }

    /// Runs `f` as Node runs its own I/O callbacks: async hooks see it, and ticks and promises run at its end. That is why commands have
    /// been taken from the buffers by then: what a promise writes into them belongs to the next turn.
    pub fn in_loop(&self, f: impl FnOnce()) {
        let _scope = CallbackScope::open(self);
        f();
    }

    /// Calls it with a number: what it answered, None when that was no number. Err: what it threw.
    pub fn call_number(&self, argument: f64) -> Result<Option<f64>, String> {
        self.call(Answer::Number(argument))
    }

    pub fn call_text(&self, argument: &str) -> Result<Option<f64>, String> {
        self.call(Answer::Text(String::from(argument)))
    }

    fn call(&self, argument: Answer) -> Result<Option<f64>, String> {
        let _scope = HandleScope::open(self.env).map_err(|f| f.message)?;
        let argument = argument.value(self.env).map_err(|f| f.message)?;
        let (mut global, mut function, mut answer) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
        // SAFETY: env, local; the reference lives as long as self, which the caller holds across the call.
        let status = unsafe {
            sys::napi_get_global(self.env.0, &mut global);
            sys::napi_get_reference_value(self.env.0, self.function, &mut function);
            sys::napi_call_function(self.env.0, global, function, 1, &argument, &mut answer)
        };
        if status != sys::Status::napi_ok {
            return Err(self.env.take_exception());
        }
        Ok(self.env.number_of(answer))
    }
}

/// Where local values live, when no call from JavaScript is on the stack.
struct HandleScope {
    env: Env,
    scope: sys::napi_handle_scope,
}

impl HandleScope {
    fn open(env: Env) -> Result<Self, Failure> {
        let mut scope = ptr::null_mut();
        // SAFETY: env; closed by the drop.
        env.check(unsafe { sys::napi_open_handle_scope(env.0, &mut scope) }, "a handle scope")?;
        Ok(HandleScope { env, scope })
    }
}

impl Drop for HandleScope {
    fn drop(&mut self) {
        // SAFETY: env; opened by `open`. Scopes are locals of nested functions, so that they close in the right order.
        unsafe { sys::napi_close_handle_scope(self.env.0, self.scope) };
    }
}

/// Borrows the callback, whose async context must outlive it.
struct CallbackScope<'a> {
    callback: &'a Callback,
    scope: sys::napi_callback_scope,
    _handles: HandleScope,
}

impl<'a> CallbackScope<'a> {
    /// None: Node refused, which it does when it is about to end.
    fn open(callback: &'a Callback) -> Option<Self> {
        let _handles = HandleScope::open(callback.env).ok()?;
        let mut scope = ptr::null_mut();
        // SAFETY: env; Node does not look at the resource; closed by the drop.
        let status = unsafe { sys::napi_open_callback_scope(callback.env.0, ptr::null_mut(), callback.context, &mut scope) };
        callback.env.check(status, "a callback scope").ok()?;
        Some(CallbackScope { callback, scope, _handles })
    }
}

impl Drop for CallbackScope<'_> {
    fn drop(&mut self) {
        // SAFETY: env; opened by `open`, and closed before the handle scope around it. JavaScript's ticks and promises run in here.
        unsafe { sys::napi_close_callback_scope(self.callback.env.0, self.scope) };
    }
}

impl Drop for Callback {
    fn drop(&mut self) {
        // SAFETY: env; both were made by `new` and are given up once.
        unsafe {
            if !self.function.is_null() {
                sys::napi_delete_reference(self.env.0, self.function);
            }
            sys::napi_async_destroy(self.env.0, self.context);
        }
    }
}

// ------------------------------------------------------------------------------------------------------------------- memory

/// Bytes that JavaScript sees as an ArrayBuffer and Rust as a slice. Whoever lets go last frees them, so that JavaScript may detach,
/// transfer or forget its side at any time. Node lets go for JavaScript when the environment ends: it refuses to move such a buffer to
/// another thread, where it could outlive that, but not what `transfer()` has made of it.
pub struct Memory {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: this is an allocation without an owner thread; nothing is read or written through it but by its one `Buffer`, which is not Send.
unsafe impl Send for Memory {}
// SAFETY: as above; a shared reference gives no access to the bytes.
unsafe impl Sync for Memory {}

impl Memory {
    fn new(length: usize) -> Result<Self, Failure> {
        let layout = Layout::from_size_align(length.max(1), 4096).map_err(|_| Failure::from("a buffer of that size cannot be"))?;
        // SAFETY: the layout is not empty.
        let start = NonNull::new(unsafe { alloc::alloc_zeroed(layout) }).ok_or_else(|| Failure::from("out of memory"))?;
        Ok(Memory { start, layout })
    }

    fn value(self: Arc<Self>, env: Env) -> Result<sys::napi_value, Failure> {
        let (start, length) = (self.start.as_ptr().cast::<c_void>(), self.layout.size());
        let mut value = ptr::null_mut();
        // SAFETY: env; one count of the Arc belongs to the ArrayBuffer until `release`. When Node refuses, it is not known whether
        // `release` will be called: the count is then left alone, as a leak is better than a second free.
        let status = unsafe {
            let hint = Arc::into_raw(self).cast_mut().cast::<c_void>();
            sys::napi_create_external_arraybuffer(env.0, start, length, Some(release), hint, &mut value)
        };
        env.check(status, "an external ArrayBuffer")?;
        Ok(value)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, and nobody holds it any more.
        unsafe { alloc::dealloc(self.start.as_ptr(), self.layout) };
    }
}

unsafe extern "C" fn release(_env: sys::napi_env, _data: *mut c_void, hint: *mut c_void) {
    // SAFETY: the count that `Memory::value` gave away, once. A panic in a drop ends here: unwind.
    let _ = guard(|| drop(unsafe { Arc::from_raw(hint.cast_const().cast::<Memory>()) }));
}

/// Rust's side of a `Memory`; there is one, so that there is one slice at a time.
pub struct Buffer {
    memory: Arc<Memory>,
    /// Keeps it on the thread of the environment that sees it.
    _here: std::marker::PhantomData<*mut u8>,
}

impl Buffer {
    /// Zeros.
    pub fn new(length: usize) -> Result<Self, Failure> {
        Ok(Buffer { memory: Arc::new(Memory::new(length)?), _here: std::marker::PhantomData })
    }

    /// The ArrayBuffer over these bytes.
    pub fn share(&self) -> Answer {
        Answer::Memory(Arc::clone(&self.memory))
    }

    /// The bytes. JavaScript does not run while this is borrowed: nothing that calls it takes or holds a slice.
    pub fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the allocation lives as long as the Arc; &mut self makes this Rust's only slice of it, and JavaScript, the other user,
        // has this thread only when the borrow is over.
        unsafe { std::slice::from_raw_parts_mut(self.memory.start.as_ptr(), self.memory.layout.size()) }
    }
}

// --------------------------------------------------------------------------------------------------------------------- loop

const UV_POLL: c_int = 8;
const UV_PREPARE: c_int = 9;
const UV_TIMER: c_int = 13;
const UV_READABLE: c_int = 1;
const UV_WRITABLE: c_int = 2;

#[repr(C)]
struct UvHandle {
    _opaque: [u8; 0],
}

type UvPollCb = unsafe extern "C" fn(*mut UvHandle, c_int, c_int);
type UvTimerCb = unsafe extern "C" fn(*mut UvHandle);
type UvPrepareCb = unsafe extern "C" fn(*mut UvHandle);
type UvCloseCb = unsafe extern "C" fn(*mut UvHandle);

// SAFETY: libuv 1.x's declarations; uv_poll_t and uv_timer_t begin as uv_handle_t does. Node exports these names.
unsafe extern "C" {
    fn uv_handle_size(kind: c_int) -> usize;
    fn uv_handle_get_data(handle: *const UvHandle) -> *mut c_void;
    fn uv_handle_set_data(handle: *mut UvHandle, data: *mut c_void);
    fn uv_close(handle: *mut UvHandle, closed: Option<UvCloseCb>);
    fn uv_poll_init(lane: *mut sys::uv_loop_s, handle: *mut UvHandle, fd: c_int) -> c_int;
    fn uv_poll_start(handle: *mut UvHandle, events: c_int, ready: Option<UvPollCb>) -> c_int;
    fn uv_timer_init(lane: *mut sys::uv_loop_s, handle: *mut UvHandle) -> c_int;
    fn uv_timer_start(handle: *mut UvHandle, due: Option<UvTimerCb>, after: u64, every: u64) -> c_int;
    fn uv_timer_stop(handle: *mut UvHandle) -> c_int;
    fn uv_prepare_init(lane: *mut sys::uv_loop_s, handle: *mut UvHandle) -> c_int;
    fn uv_prepare_start(handle: *mut UvHandle, before: Option<UvPrepareCb>) -> c_int;
    fn uv_unref(handle: *mut UvHandle);
    fn uv_backend_timeout(lane: *const sys::uv_loop_s) -> c_int;
    fn uv_update_time(lane: *mut sys::uv_loop_s);
    fn uv_strerror_r(error: c_int, buffer: *mut c_char, length: usize) -> *mut c_char;
}

fn uv_check(status: c_int, doing: &str) -> Result<(), Failure> {
    if status >= 0 {
        return Ok(());
    }
    let mut text = [0_u8; 128];
    // SAFETY: libuv writes at most that many bytes, its terminating zero among them.
    unsafe { uv_strerror_r(status, text.as_mut_ptr().cast::<c_char>(), text.len()) };
    let text = std::ffi::CStr::from_bytes_until_nul(&text).map(|t| t.to_string_lossy().into_owned()).unwrap_or_default();
    Err(Failure::from(format!("{doing}: {text}")))
}

/// Node's loop of this thread, and how many of our handles it still has.
pub struct Loop {
    raw: *mut sys::uv_loop_s,
    handles: Cell<usize>,
    leave: Box<dyn Fn()>,
    /// The cleanup hook, once the environment ends: it is done when the last handle is closed.
    left: Cell<Option<sys::napi_async_cleanup_hook_handle>>,
}

impl Loop {
    fn closed(&self) {
        self.handles.set(self.handles.get().saturating_sub(1));
        self.finish();
    }

    fn finish(&self) {
        if self.handles.get() > 0 {
            return;
        }
        if let Some(hook) = self.left.take() {
            // SAFETY: the hook that Node handed to `on_leave`, given back once.
            unsafe { sys::napi_remove_async_cleanup_hook(hook) };
        }
    }
}

/// The environment ends: exit, or a worker's termination. Its loop runs until our handles are closed.
unsafe extern "C" fn on_leave(hook: sys::napi_async_cleanup_hook_handle, data: *mut c_void) {
    // SAFETY: the count that `event_loop` gave to the hook, which Node calls once.
    let lane = unsafe { Rc::from_raw(data.cast_const().cast::<Loop>()) };
    lane.left.set(Some(hook));
    let _ = guard(|| (lane.leave)());
    lane.finish();
}

/// What a handle tells.
#[derive(Clone, Copy, Debug)]
pub enum Ready {
    Descriptor {
        fd: RawFd,
        readable: bool,
        writable: bool,
    },
    /// The descriptor has an error pending, and is not watched any more.
    Broken {
        fd: RawFd,
    },
    Timer,
    /// The loop is about to look at its descriptors.
    Looking,
}

impl Ready {
    /// The descriptor that is to be read: also one that has an error to tell.
    pub fn readable(self) -> Option<RawFd> {
        match self {
            Ready::Descriptor { fd, readable: true, .. } | Ready::Broken { fd } => Some(fd),
            Ready::Descriptor { readable: false, .. } | Ready::Timer | Ready::Looking => None,
        }
    }
}

pub trait Watcher {
    fn ready(self: Rc<Self>, ready: Ready);
    /// `ready` panicked.
    fn failed(self: Rc<Self>, message: String);
}

/// A handle's memory, and whom it tells.
struct Watch {
    handle: NonNull<UvHandle>,
    layout: Layout,
    lane: Rc<Loop>,
    watcher: Weak<dyn Watcher>,
    fd: RawFd,
}

impl Watch {
    fn tell(&self, ready: Ready) {
        let Some(watcher) = self.watcher.upgrade() else { return };
        if let Err(message) = guard(|| Rc::clone(&watcher).ready(ready)) {
            let _ = guard(|| watcher.failed(message));
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout by `Handle::new`; libuv has forgotten it, or never knew it.
        unsafe { alloc::dealloc(self.handle.as_ptr().cast::<u8>(), self.layout) };
    }
}

/// An initialised handle; closed when dropped.
struct Handle(NonNull<UvHandle>);

impl Handle {
    fn new(
        lane: &Rc<Loop>,
        kind: c_int,
        fd: RawFd,
        watcher: Weak<dyn Watcher>,
        init: impl FnOnce(*mut UvHandle) -> Result<(), Failure>,
    ) -> Result<Self, Failure> {
        // SAFETY: any number may be asked for; 0 comes back for what is no kind.
        let size = unsafe { uv_handle_size(kind) };
        let layout = Layout::from_size_align(size.max(1), 16).map_err(|_| Failure::from("no handle has that size"))?;
        // SAFETY: the layout is not empty.
        let memory = NonNull::new(unsafe { alloc::alloc_zeroed(layout) }).ok_or_else(|| Failure::from("out of memory"))?;
        let watch = Box::new(Watch { handle: memory.cast(), layout, lane: Rc::clone(lane), watcher, fd });
        let handle = watch.handle;
        init(handle.as_ptr())?;
        // SAFETY: handle: initialised just now; the box stays with it until `on_closed`.
        unsafe { uv_handle_set_data(handle.as_ptr(), Box::into_raw(watch).cast::<c_void>()) };
        lane.handles.set(lane.handles.get() + 1);
        Ok(Handle(handle))
    }

    fn raw(&self) -> *mut UvHandle {
        self.0.as_ptr()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: handle: initialised, and closed only here. libuv lets go of the descriptor before this returns.
        unsafe { uv_close(self.raw(), Some(on_closed)) };
    }
}

unsafe extern "C" fn on_closed(handle: *mut UvHandle) {
    // SAFETY: handle: the box that `Handle::new` gave away, once; libuv does not touch the handle after this. A panic ends here: unwind.
    let _ = guard(|| {
        let watch = unsafe { Box::from_raw(uv_handle_get_data(handle).cast::<Watch>()) };
        let lane = Rc::clone(&watch.lane);
        drop(watch);
        lane.closed();
    });
}

unsafe extern "C" fn on_poll(handle: *mut UvHandle, status: c_int, events: c_int) {
    let _ = guard(|| {
        // SAFETY: handle: `on_closed`, which frees the watch, never runs inside a callback.
        let watch = unsafe { &*uv_handle_get_data(handle).cast::<Watch>() };
        let fd = watch.fd;
        watch.tell(if status < 0 {
            Ready::Broken { fd }
        } else {
            Ready::Descriptor { fd, readable: events & UV_READABLE != 0, writable: events & UV_WRITABLE != 0 }
        });
    });
}

unsafe extern "C" fn on_timer(handle: *mut UvHandle) {
    let _ = guard(|| {
        // SAFETY: handle: `on_closed`, which frees the watch, never runs inside a callback.
        let watch = unsafe { &*uv_handle_get_data(handle).cast::<Watch>() };
        watch.tell(Ready::Timer);
    });
}

unsafe extern "C" fn on_prepare(handle: *mut UvHandle) {
    let _ = guard(|| {
        // SAFETY: handle: `on_closed`, which frees the watch, never runs inside a callback.
        let watch = unsafe { &*uv_handle_get_data(handle).cast::<Watch>() };
        watch.tell(Ready::Looking);
    });
}

/// Tells each time before the loop looks at its descriptors. Does not keep the loop alive.
pub struct Prepare {
    _handle: Handle,
    lane: Rc<Loop>,
}

impl Prepare {
    pub fn new(lane: &Rc<Loop>, watcher: Weak<dyn Watcher>) -> Result<Self, Failure> {
        let raw = lane.raw;
        // SAFETY: handle: memory of uv_handle_size bytes; the loop is this thread's.
        let init = |handle| uv_check(unsafe { uv_prepare_init(raw, handle) }, "watching the loop");
        let handle = Handle::new(lane, UV_PREPARE, -1, watcher, init)?;
        // SAFETY: handle: initialised and not closed.
        unsafe {
            uv_unref(handle.raw());
            uv_check(uv_prepare_start(handle.raw(), Some(on_prepare)), "watching the loop")?;
        }
        // What the kernel may add to a sleep of this thread is 50 µs: half of the longest rest.
        // SAFETY: takes a number. Where it is refused rests are longer.
        unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) };
        Ok(Prepare { _handle: handle, lane: Rc::clone(lane) })
    }

    /// Whether the loop has nothing to do but what its descriptors bring: no timer is due, no immediate waits.
    pub fn may_rest(&self) -> bool {
        // SAFETY: the loop is this thread's, and lives as long as the environment.
        unsafe { uv_backend_timeout(self.lane.raw) != 0 }
    }
}

/// Watches a descriptor, which its owner closes only after this is dropped.
pub struct Poll {
    handle: Handle,
    fd: RawFd,
    events: c_int,
}

impl Poll {
    /// Readable is watched at once.
    pub fn new(lane: &Rc<Loop>, fd: RawFd, watcher: Weak<dyn Watcher>) -> Result<Self, Failure> {
        let raw = lane.raw;
        // SAFETY: handle: memory of uv_handle_size bytes; the loop is this thread's.
        let init = |handle| uv_check(unsafe { uv_poll_init(raw, handle, fd) }, "watching a socket");
        let mut poll = Poll { handle: Handle::new(lane, UV_POLL, fd, watcher, init)?, fd, events: 0 };
        poll.want_writable(false)?;
        Ok(poll)
    }

    pub fn fd(&self) -> RawFd {
        self.fd
    }

    pub fn want_writable(&mut self, wanted: bool) -> Result<(), Failure> {
        let events = if wanted { UV_READABLE | UV_WRITABLE } else { UV_READABLE };
        if events == self.events {
            return Ok(());
        }
        self.events = events;
        self.start()
    }

    /// After `Ready::Broken`.
    pub fn restart(&mut self) -> Result<(), Failure> {
        self.start()
    }

    fn start(&mut self) -> Result<(), Failure> {
        // SAFETY: handle: initialised and not closed; a start while active changes what is watched.
        uv_check(unsafe { uv_poll_start(self.handle.raw(), self.events, Some(on_poll)) }, "watching a socket")
    }
}

/// One timer, not running until `after`.
pub struct Timer {
    handle: Handle,
    lane: Rc<Loop>,
}

impl Timer {
    pub fn new(lane: &Rc<Loop>, watcher: Weak<dyn Watcher>) -> Result<Self, Failure> {
        let raw = lane.raw;
        // SAFETY: handle: memory of uv_handle_size bytes; the loop is this thread's.
        let init = |handle| uv_check(unsafe { uv_timer_init(raw, handle) }, "making a timer");
        Ok(Timer { handle: Handle::new(lane, UV_TIMER, -1, watcher, init)?, lane: Rc::clone(lane) })
    }

    /// Tells once, this many milliseconds from now; 0 is the loop's next round. Instead of whatever was asked before.
    pub fn after(&self, ms: u64) {
        // SAFETY: handle: initialised and not closed. The loop's clock stands still while callbacks run, hence the update. A start fails
        // only without a callback or on a handle that is closing.
        unsafe {
            uv_update_time(self.lane.raw);
            uv_timer_start(self.handle.raw(), Some(on_timer), ms, 0);
        }
    }

    pub fn stop(&self) {
        // SAFETY: handle: initialised and not closed.
        unsafe { uv_timer_stop(self.handle.raw()) };
    }
}
