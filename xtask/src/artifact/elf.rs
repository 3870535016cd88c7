//! The little that we ask of an ELF file (64 bit, little endian): which loader runs it, and what a
//! kernel module says about itself. Who loads which library is the loader's own business (`bundle`).

use anyhow::{Context, ensure};

/// `PT_INTERP`: the program header that names the loader.
const PT_INTERP: u32 = 3;

/// A parsed view of an ELF file.
#[derive(Debug)]
pub struct Elf<'a> {
    bytes: &'a [u8],
}

impl<'a> Elf<'a> {
    /// Looks at the header only.
    ///
    /// # Errors
    /// If it is not an ELF file, or not one for a 64-bit little-endian machine.
    pub fn parse(bytes: &'a [u8]) -> anyhow::Result<Elf<'a>> {
        ensure!(bytes.starts_with(b"\x7fELF"), "not an ELF file");
        ensure!(
            bytes.get(4..6) == Some(&[2, 1]),
            "not an ELF file for a 64-bit little-endian machine"
        );
        Ok(Elf { bytes })
    }

    /// The loader that the file asks for; nothing if it is linked statically.
    ///
    /// # Errors
    /// If the program headers are damaged.
    pub fn interpreter(&self) -> anyhow::Result<Option<&'a str>> {
        self.program_loader().context("damaged ELF program headers")
    }

    fn program_loader(&self) -> Option<Option<&'a str>> {
        let table = self.word(32)?;
        let (size, count) = (self.half(54)?, self.half(56)?);
        for index in 0..count {
            let header = table.checked_add(index.checked_mul(size)?)?;
            if self.dword(header)? == PT_INTERP {
                let name = self.slice(self.word(header + 8)?, self.word(header + 32)?)?;
                let name = name.strip_suffix(b"\0").unwrap_or(name);
                return Some(Some(std::str::from_utf8(name).ok()?));
            }
        }
        Some(None)
    }

    /// The contents of the section with this name, if there is one.
    ///
    /// # Errors
    /// If the section headers are damaged.
    pub fn section(&self, name: &str) -> anyhow::Result<Option<&'a [u8]>> {
        self.find_section(name).context("damaged ELF section headers")
    }

    fn find_section(&self, wanted: &str) -> Option<Option<&'a [u8]>> {
        let table = self.word(40)?;
        let (size, count, names) = (self.half(58)?, self.half(60)?, self.half(62)?);
        let header = |index: usize| table.checked_add(index.checked_mul(size)?);
        let contents = |at: usize| self.slice(self.word(at + 24)?, self.word(at + 32)?);
        let names = contents(header(names)?)?;
        for index in 0..count {
            let at = header(index)?;
            let name = names.get(self.dword(at)? as usize..)?;
            let name = name.split(|byte| *byte == 0).next()?;
            if name == wanted.as_bytes() {
                return contents(at).map(Some);
            }
        }
        Some(None)
    }

    fn slice(&self, start: usize, length: usize) -> Option<&'a [u8]> {
        self.bytes.get(start..start.checked_add(length)?)
    }

    fn field<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.bytes.get(at..)?.first_chunk().copied()
    }

    fn half(&self, at: usize) -> Option<usize> {
        self.field(at).map(|bytes| usize::from(u16::from_le_bytes(bytes)))
    }

    fn dword(&self, at: usize) -> Option<u32> {
        self.field(at).map(u32::from_le_bytes)
    }

    fn word(&self, at: usize) -> Option<usize> {
        // A word so large that adding an offset to it could overflow points outside of any file.
        let value = usize::try_from(u64::from_le_bytes(self.field(at)?)).ok()?;
        (value <= isize::MAX as usize).then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_binary_is_static_and_has_the_usual_sections() {
        let bytes = std::fs::read("/proc/self/exe").unwrap();
        let elf = Elf::parse(&bytes).unwrap();
        assert_eq!(elf.interpreter().unwrap(), None, "every binary of ours is static");
        assert!(elf.section(".text").unwrap().is_some_and(|text| !text.is_empty()));
        assert_eq!(elf.section(".nothing").unwrap(), None);
    }

    #[test]
    fn a_script_is_not_an_elf_file() {
        assert_eq!(Elf::parse(b"#!/bin/sh\n").unwrap_err().to_string(), "not an ELF file");
        let of_32_bits = b"\x7fELF\x01\x01";
        assert!(Elf::parse(of_32_bits).unwrap_err().to_string().contains("64-bit"));
    }

    proptest::proptest! {
        #[test]
        fn damage_is_an_error_and_never_a_panic(
            tail in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..512),
        ) {
            let bytes = [b"\x7fELF\x02\x01".as_slice(), &tail].concat();
            let elf = Elf::parse(&bytes).unwrap();
            // Whatever is found lies inside the file.
            if let Ok(Some(section)) = elf.section(".modinfo") {
                proptest::prop_assert!(section.len() <= bytes.len());
            }
            if let Ok(Some(loader)) = elf.interpreter() {
                proptest::prop_assert!(loader.len() <= bytes.len());
            }
        }
    }
}
