//! What the linker has to be told on macOS about a module that is loaded by Python.

fn main() {
    pyo3_build_config::add_extension_module_link_args();
}
