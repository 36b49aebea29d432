//! Linker arguments that a module loaded by Python needs on macOS.

fn main() {
    pyo3_build_config::add_extension_module_link_args();
}
