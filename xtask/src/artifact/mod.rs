//! What is made out of Debian packages, the host's tools and our own binary, and kept in a cache:
//! root file systems of containers and the initramfs of a guest. Nothing is installed and nothing
//! needs a registry.

pub mod bundle;
pub mod cache;
pub mod elf;
pub mod initramfs;
pub mod module;
pub mod programs;
pub mod rootfs;

mod archive;
