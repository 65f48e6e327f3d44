//! A linear layer with GELU in f16, by cuBLASLt, which applies it before the product leaves the registers. libtorch can ask
//! it for that, but not through the binding this program calls libtorch with: that passes the choice of GELU as another
//! argument, and gets ReLU.

use std::cell::RefCell;
use std::ffi::{c_float, c_int, c_void};
use std::ptr::{from_ref, null_mut};
use std::sync::OnceLock;

use libloading::os::unix::{Library, RTLD_NOW};
use tch::{Device, Kind, Tensor};

use super::{Kernels, are_plain, stream, values};
use crate::Result;

/// The library that this version of libtorch computes with, and has loaded.
const LIBRARY: &str = "libcublasLt.so.13";
/// More memory than this no product may use besides its own.
const WORKSPACE: usize = 32 << 20;
/// Shapes that are remembered.
const PLANS: usize = 16;

/// Values of cuBLASLt's enumerations.
mod value {
    use std::ffi::c_int;

    pub(super) const COMPUTE_32F: c_int = 68;
    pub(super) const R_32F: c_int = 0;
    pub(super) const R_16F: c_int = 2;
    pub(super) const DESC_TRANSA: c_int = 3;
    pub(super) const DESC_EPILOGUE: c_int = 7;
    pub(super) const DESC_BIAS_POINTER: c_int = 8;
    pub(super) const PREF_MAX_WORKSPACE_BYTES: c_int = 1;
    pub(super) const OP_T: c_int = 1;
    pub(super) const EPILOGUE_GELU_BIAS: c_int = 36;
}

type Handle = *mut c_void;

/// What cuBLASLt suggests: `cublasLtMatmulHeuristicResult_t`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Suggestion {
    algorithm: [u64; 8],
    workspace: usize,
    state: c_int,
    waves: c_float,
    reserved: [c_int; 4],
}

/// The functions of the library.
struct Functions {
    create: extern "C" fn(*mut Handle) -> c_int,
    desc_create: extern "C" fn(*mut Handle, c_int, c_int) -> c_int,
    desc_set: extern "C" fn(Handle, c_int, *const c_void, usize) -> c_int,
    desc_destroy: extern "C" fn(Handle) -> c_int,
    layout_create: extern "C" fn(*mut Handle, c_int, u64, u64, i64) -> c_int,
    layout_destroy: extern "C" fn(Handle) -> c_int,
    preference_create: extern "C" fn(*mut Handle) -> c_int,
    preference_set: extern "C" fn(Handle, c_int, *const c_void, usize) -> c_int,
    preference_destroy: extern "C" fn(Handle) -> c_int,
    suggest: Suggest,
    multiply: Multiply,
}

type Suggest = extern "C" fn(
    Handle,
    Handle,
    Handle,
    Handle,
    Handle,
    Handle,
    Handle,
    c_int,
    *mut Suggestion,
    *mut c_int,
) -> c_int;
type Multiply = extern "C" fn(
    Handle,
    Handle,
    *const c_void,
    *const c_void,
    Handle,
    *const c_void,
    Handle,
    *const c_void,
    *const c_void,
    Handle,
    *mut c_void,
    Handle,
    *const [u64; 8],
    *mut c_void,
    usize,
    *mut c_void,
) -> c_int;

impl Functions {
    /// Those of the library that libtorch has loaded, never unloaded.
    fn loaded() -> Option<&'static Self> {
        static FUNCTIONS: OnceLock<Option<Functions>> = OnceLock::new();
        FUNCTIONS.get_or_init(Self::load).as_ref()
    }

    fn load() -> Option<Self> {
        macro_rules! function {
            ($library:expr, $name:literal) => {
                // SAFETY: the types above are those of cublasLt.h.
                unsafe { *$library.get(concat!("cublasLt", $name, "\0").as_bytes()).ok()? }
            };
        }
        // SAFETY: it is loaded already, as a dependency of libtorch_cuda.
        let library = unsafe { Library::open(Some(LIBRARY), RTLD_NOW) }.ok()?;
        let functions = Self {
            create: function!(library, "Create"),
            desc_create: function!(library, "MatmulDescCreate"),
            desc_set: function!(library, "MatmulDescSetAttribute"),
            desc_destroy: function!(library, "MatmulDescDestroy"),
            layout_create: function!(library, "MatrixLayoutCreate"),
            layout_destroy: function!(library, "MatrixLayoutDestroy"),
            preference_create: function!(library, "MatmulPreferenceCreate"),
            preference_set: function!(library, "MatmulPreferenceSetAttribute"),
            preference_destroy: function!(library, "MatmulPreferenceDestroy"),
            suggest: function!(library, "MatmulAlgoGetHeuristic"),
            multiply: function!(library, "Matmul"),
        };
        std::mem::forget(library);
        Some(functions)
    }
}

/// The sizes of a product on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    device: usize,
    rows: i64,
    inputs: i64,
    outputs: i64,
}

/// How a product of some shape is computed.
struct Plan {
    functions: &'static Functions,
    handle: Handle,
    desc: Handle,
    /// Of the weight, the input and the output.
    layouts: [Handle; 3],
    suggestion: Suggestion,
}

impl Plan {
    /// `None` where cuBLASLt refuses.
    fn new(functions: &'static Functions, handle: Handle, shape: Shape) -> Option<Self> {
        let mut plan = Self {
            functions,
            handle,
            desc: null_mut(),
            layouts: [null_mut(); 3],
            suggestion: Suggestion::default(),
        };
        succeeded((functions.desc_create)(&mut plan.desc, value::COMPUTE_32F, value::R_32F))?;
        plan.set(value::DESC_TRANSA, &value::OP_T)?;
        plan.set(value::DESC_EPILOGUE, &value::EPILOGUE_GELU_BIAS)?;
        // It counts by columns: what are rows here are columns there.
        let (rows, inputs, outputs) = (shape.rows as u64, shape.inputs as u64, shape.outputs as u64);
        let sizes = [(inputs, outputs), (inputs, rows), (outputs, rows)];
        for (layout, (height, width)) in plan.layouts.iter_mut().zip(sizes) {
            succeeded((functions.layout_create)(layout, value::R_16F, height, width, height as i64))?;
        }
        let mut preference = null_mut();
        succeeded((functions.preference_create)(&mut preference))?;
        let limit = from_ref(&WORKSPACE).cast();
        let limited = (functions.preference_set)(
            preference,
            value::PREF_MAX_WORKSPACE_BYTES,
            limit,
            size_of::<usize>(),
        );
        let [weight, input, output] = plan.layouts;
        let mut found = 0;
        let suggested = (functions.suggest)(
            handle,
            plan.desc,
            weight,
            input,
            output,
            output,
            preference,
            1,
            &mut plan.suggestion,
            &mut found,
        );
        (functions.preference_destroy)(preference);
        (succeeded(limited).is_some() && succeeded(suggested).is_some() && found == 1).then_some(plan)
    }

    fn set<T>(&self, attribute: c_int, value: &T) -> Option<()> {
        succeeded((self.functions.desc_set)(self.desc, attribute, from_ref(value).cast(), size_of::<T>()))
    }

    /// `None` where cuBLASLt refuses.
    fn run(&self, x: &Tensor, weight: &Tensor, bias: &Tensor, out: &Tensor) -> Option<()> {
        let size = self.suggestion.workspace;
        let workspace = Tensor::f_empty([size as i64], (Kind::Uint8, x.device())).ok()?;
        self.set(value::DESC_BIAS_POINTER, &values::<c_void>(bias))?;
        let (one, zero): (c_float, c_float) = (1.0, 0.0);
        let [weight_layout, input, output] = self.layouts;
        succeeded((self.functions.multiply)(
            self.handle,
            self.desc,
            from_ref(&one).cast(),
            values(weight),
            weight_layout,
            values(x),
            input,
            from_ref(&zero).cast(),
            values(out),
            output,
            out.data_ptr(),
            output,
            &self.suggestion.algorithm,
            workspace.data_ptr(),
            size,
            stream(),
        ))
    }
}

impl Drop for Plan {
    fn drop(&mut self) {
        for layout in self.layouts.into_iter().filter(|layout| !layout.is_null()) {
            (self.functions.layout_destroy)(layout);
        }
        if !self.desc.is_null() {
            (self.functions.desc_destroy)(self.desc);
        }
    }
}

fn succeeded(status: c_int) -> Option<()> {
    (status == 0).then_some(())
}

/// A thread's handles, one for each device, and the plans of the shapes it met last.
#[derive(Default)]
struct State {
    handles: Vec<(usize, Handle)>,
    plans: Vec<(Shape, Option<Plan>)>,
}

impl State {
    fn plan(&mut self, shape: Shape) -> Option<&Plan> {
        if let Some(place) = self.plans.iter().position(|(known, _)| *known == shape) {
            return self.plans.get(place)?.1.as_ref();
        }
        let functions = Functions::loaded()?;
        let handle = match self.handles.iter().find(|(device, _)| *device == shape.device) {
            Some((_, handle)) => *handle,
            None => {
                let mut handle = null_mut();
                succeeded((functions.create)(&mut handle))?;
                self.handles.push((shape.device, handle));
                handle
            }
        };
        self.plans.truncate(PLANS - 1);
        self.plans.insert(0, (shape, Plan::new(functions, handle, shape)));
        self.plans.first()?.1.as_ref()
    }
}

thread_local! {
    static STATE: RefCell<State> = RefCell::default();
}

/// GELU, approximated by tanh, of `x` `[N, inputs]` times the transpose of `weight` `[outputs, inputs]` plus `bias`. `None`:
/// do it otherwise.
pub(crate) fn linear_gelu(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Option<Tensor>> {
    let Device::Cuda(device) = x.device() else { return Ok(None) };
    if Kernels::on(x.device()).is_none() || x.dim() != 2 || !are_plain(Kind::Half, &[x, weight, bias]) {
        return Ok(None);
    }
    let ((rows, inputs), (outputs, _)) = (x.size2()?, weight.size2()?);
    if rows < 1 || inputs % 8 != 0 || outputs % 8 != 0 {
        return Ok(None);
    }
    let out = Tensor::f_empty([rows, outputs], (Kind::Half, x.device()))?;
    let shape = Shape { device, rows, inputs, outputs };
    let done = STATE.with_borrow_mut(|state| state.plan(shape)?.run(x, weight, bias, &out));
    Ok(done.map(|()| out))
}
