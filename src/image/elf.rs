//! Just enough of ELF to tell whether an executable can run alone in an image, and on which machines.
//!
//! Offsets and numbers are those of the System V ABI (`Elf64_Ehdr`, `Elf64_Phdr`).

/// `e_machine` and what container images call it (Go's names).
const MACHINES: [(u16, &str); 3] = [(62, "amd64"), (183, "arm64"), (243, "riscv64")];

/// `p_type` of the segment that names a dynamic linker.
const PT_INTERP: u32 = 3;

/// Size of `Elf64_Phdr`, the least that a program header may have.
const PROGRAM_HEADER_BYTES: usize = 56;

/// Why an executable cannot go into an image.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// It asks for a dynamic linker.
    Dynamic,
    /// It is something else altogether.
    Other(String),
}

/// The architecture of a static executable.
pub(super) fn static_architecture(program: &[u8]) -> Result<&'static str, Problem> {
    let other = |reason: &str| Problem::Other(reason.to_owned());
    if program.get(..4) != Some(b"\x7fELF") {
        return Err(other("it is not an ELF file"));
    }
    if program.get(4..6) != Some(&[2, 1]) {
        return Err(other("it is not a 64-bit little-endian executable"));
    }
    let cut_short = || other("it ends before its program headers do");
    let machine = u16_at(program, 18).ok_or_else(cut_short)?;
    let architecture = MACHINES
        .iter()
        .find(|(number, _)| *number == machine)
        .map(|(_, name)| *name)
        .ok_or_else(|| Problem::Other(format!("its machine type {machine} is none of amd64, arm64 and riscv64")))?;

    let table = u64_at(program, 32).and_then(|at| usize::try_from(at).ok()).ok_or_else(cut_short)?;
    let size = usize::from(u16_at(program, 54).ok_or_else(cut_short)?);
    let count = usize::from(u16_at(program, 56).ok_or_else(cut_short)?);
    if count == 0 || size < PROGRAM_HEADER_BYTES {
        return Err(other("it has no program headers, so it is not a program"));
    }
    for index in 0..count {
        let at = index.checked_mul(size).and_then(|offset| table.checked_add(offset)).ok_or_else(cut_short)?;
        if u32_at(program, at).ok_or_else(cut_short)? == PT_INTERP {
            return Err(Problem::Dynamic);
        }
    }
    Ok(architecture)
}

fn bytes_at<const N: usize>(program: &[u8], at: usize) -> Option<[u8; N]> {
    program.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn u16_at(program: &[u8], at: usize) -> Option<u16> {
    bytes_at(program, at).map(u16::from_le_bytes)
}

fn u32_at(program: &[u8], at: usize) -> Option<u32> {
    bytes_at(program, at).map(u32::from_le_bytes)
}

fn u64_at(program: &[u8], at: usize) -> Option<u64> {
    bytes_at(program, at).map(u64::from_le_bytes)
}
