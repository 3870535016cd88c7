//! The processor: texts of /proc/cpuinfo on the architectures that print them differently, and
//! the hypervisor below it.

use crate::threads;

/// The first value of a field of /proc/cpuinfo.
pub(super) fn field<'a>(cpuinfo: &'a str, name: &str) -> Option<&'a str> {
    cpuinfo.lines().find_map(|line| value(line, name))
}

/// The value of a line of /proc/cpuinfo, if it is about this field and says something.
fn value<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (key, value) = line.split_once(':')?;
    (key.trim() == name && !value.trim().is_empty()).then(|| value.trim())
}

/// The model of the processor; several, separated by `; `, where its cores are not alike.
///
/// Clouds mask the model name ("AMD EPYC"), so that family, model and stepping are added where
/// the kernel prints them. ARM prints no name, only the identification registers.
pub(super) fn model(cpuinfo: &str) -> Option<String> {
    let mut models: Vec<String> = Vec::new();
    for block in cpuinfo.split("\n\n") {
        if let Some(model) = model_of_block(block).filter(|model| !models.contains(model)) {
            models.push(model);
        }
    }
    (!models.is_empty()).then(|| models.join("; "))
}

/// The model that the lines of one CPU tell.
fn model_of_block(block: &str) -> Option<String> {
    let get = |name| field(block, name);
    if let Some(name) = get("model name") {
        let numbers = [("family", "cpu family"), ("model", "model"), ("stepping", "stepping")]
            .into_iter()
            .filter_map(|(word, name)| Some(format!("{word} {}", get(name)?)))
            .collect::<Vec<_>>();
        return Some(match numbers.is_empty() {
            true => name.to_owned(),
            false => format!("{name} ({})", numbers.join(" ")),
        });
    }
    let (implementer, part) = (get("CPU implementer")?, get("CPU part")?);
    let variant = get("CPU variant").unwrap_or("?");
    let revision = get("CPU revision").unwrap_or("?");
    Some(format!("ARM implementer {implementer} part {part} variant {variant} revision {revision}"))
}

/// The CPUs of a mask as the kernel writes it (groups of eight hexadecimal digits, the highest first), as a list.
pub(super) fn of_mask(mask: &str) -> Option<String> {
    let mut cpus = Vec::new();
    for (group, digits) in mask.trim().split(',').rev().enumerate() {
        let bits = u32::from_str_radix(digits, 16).ok()?;
        let set = (0..32_usize).filter(|bit| bits & (1 << bit) != 0);
        cpus.extend(set.map(|bit| group * 32 + bit));
    }
    Some(threads::list(&cpus))
}

/// What the processor's flags tell: `some` hypervisor, `none`; nothing where the architecture has no such flag.
pub(super) fn hypervisor_by_flag(cpuinfo: &str) -> Option<&'static str> {
    let flags = field(cpuinfo, "flags")?;
    Some(if flags.split_whitespace().any(|flag| flag == "hypervisor") { "some" } else { "none" })
}

/// The hypervisor that the firmware's tables name.
pub(super) fn hypervisor_by_firmware(vendor: &str, product: &str) -> Option<String> {
    let marks = [
        "QEMU",
        "KVM",
        "VMware",
        "Xen",
        "Virtual",
        "Amazon EC2",
        "Google Compute",
        "OpenStack",
        "Bochs",
    ];
    let text = format!("{vendor} {product}");
    // Metal instances of clouds carry the cloud's name as well.
    let metal = product.contains("metal");
    (!metal && marks.iter().any(|mark| text.contains(mark))).then(|| text.trim().to_owned())
}

/// The hypervisor that answers `cpuid`: `kvm`, `tcg`, ..., `none`; absent on other architectures.
#[cfg(target_arch = "x86_64")]
pub(super) fn hypervisor_by_cpuid() -> Option<String> {
    use std::arch::x86_64::__cpuid;

    /// Bit 31 of ECX of leaf 1, which hardware leaves at 0 (Intel SDM, `CPUID`).
    const HYPERVISOR: u32 = 1 << 31;
    /// The leaf in which hypervisors give their name.
    const VENDOR: u32 = 0x4000_0000;

    if __cpuid(1).ecx & HYPERVISOR == 0 {
        return Some("none".to_owned());
    }
    let leaf = __cpuid(VENDOR);
    let bytes: Vec<u8> =
        [leaf.ebx, leaf.ecx, leaf.edx].into_iter().flat_map(u32::to_le_bytes).collect();
    Some(hypervisor_of_signature(&bytes))
}

/// The hypervisor that answers `cpuid`: `kvm`, `tcg`, ..., `none`; absent on other architectures.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn hypervisor_by_cpuid() -> Option<String> {
    None
}

/// The name behind a signature of `cpuid`; the signature itself where it is not a known one.
#[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "`cpuid` is x86's"))]
fn hypervisor_of_signature(signature: &[u8]) -> String {
    let text: String = signature
        .iter()
        .filter(|byte| byte.is_ascii_graphic())
        .map(|&byte| char::from(byte))
        .collect();
    match text.as_str() {
        "" => "some".to_owned(),
        "KVMKVMKVM" => "kvm".to_owned(),
        "TCGTCGTCGTCG" => "tcg".to_owned(),
        "MicrosoftHv" => "hyper-v".to_owned(),
        "VMwareVMware" => "vmware".to_owned(),
        "XenVMMXenVMM" => "xen".to_owned(),
        "bhyvebhyve" => "bhyve".to_owned(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTEL: &str = "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 106\n\
        model name\t: Intel(R) Xeon(R) Gold 6330 CPU @ 2.00GHz\nstepping\t: 6\nmicrocode\t: 0xd0003d1\n\
        cpu MHz\t\t: 2000.000\nflags\t\t: fpu vme de pse tsc msr\n\n\
        processor\t: 1\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 106\n\
        model name\t: Intel(R) Xeon(R) Gold 6330 CPU @ 2.00GHz\nstepping\t: 6\nmicrocode\t: 0xd0003d1\n";
    const AMD: &str = "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 26\nmodel\t\t: 2\n\
        model name\t: AMD EPYC\nstepping\t: 1\nmicrocode\t: 0x1000065\nflags\t\t: fpu hypervisor lahf_lm\n\
        TLB size\t: 192 4K pages\n";
    const ARM: &str = "processor\t: 0\nBogoMIPS\t: 243.75\nFeatures\t: fp asimd evtstrm\n\
        CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x3\nCPU part\t: 0xd0c\nCPU revision\t: 1\n\n\
        processor\t: 1\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x1\nCPU part\t: 0xd05\nCPU revision\t: 0\n";

    #[test]
    fn masks_are_lists() {
        assert_eq!(of_mask("3\n").unwrap(), "0-1");
        assert_eq!(of_mask("00000002,00000001").unwrap(), "0,33");
        assert_eq!(of_mask("x"), None);
    }

    #[test]
    fn intel_is_named_once_for_all_its_cpus() {
        assert_eq!(
            model(INTEL).unwrap(),
            "Intel(R) Xeon(R) Gold 6330 CPU @ 2.00GHz (family 6 model 106 stepping 6)"
        );
        assert_eq!(field(INTEL, "microcode"), Some("0xd0003d1"));
        assert_eq!(hypervisor_by_flag(INTEL), Some("none"));
    }

    #[test]
    fn a_masked_amd_is_told_apart_by_its_numbers() {
        assert_eq!(model(AMD).unwrap(), "AMD EPYC (family 26 model 2 stepping 1)");
        assert_eq!(hypervisor_by_flag(AMD), Some("some"));
    }

    #[test]
    fn arm_with_two_kinds_of_cores_names_both_and_has_no_microcode() {
        assert_eq!(
            model(ARM).unwrap(),
            "ARM implementer 0x41 part 0xd0c variant 0x3 revision 1; \
             ARM implementer 0x41 part 0xd05 variant 0x1 revision 0"
        );
        assert_eq!(field(ARM, "microcode"), None);
        assert_eq!(hypervisor_by_flag(ARM), None);
    }

    #[test]
    fn a_flag_is_a_word_and_not_a_part_of_one() {
        assert_eq!(hypervisor_by_flag("flags : nohypervisor hypervisors"), Some("none"));
    }

    #[test]
    fn signatures_have_names_and_unknown_ones_stay() {
        assert_eq!(hypervisor_of_signature(b"KVMKVMKVM\0\0\0"), "kvm");
        assert_eq!(hypervisor_of_signature(b"TCGTCGTCGTCG"), "tcg");
        assert_eq!(hypervisor_of_signature(b"Microsoft Hv"), "hyper-v");
        assert_eq!(hypervisor_of_signature(b"ACRNACRNACRN"), "ACRNACRNACRN");
        assert_eq!(hypervisor_of_signature(&[0; 12]), "some");
    }

    #[test]
    fn firmware_names_virtual_machines_and_not_metal() {
        assert_eq!(
            hypervisor_by_firmware("QEMU", "KVM Virtual Machine").unwrap(),
            "QEMU KVM Virtual Machine"
        );
        assert_eq!(hypervisor_by_firmware("Amazon EC2", "m7g.metal"), None);
        assert_eq!(hypervisor_by_firmware("Dell Inc.", "PowerEdge R750"), None);
    }
}
