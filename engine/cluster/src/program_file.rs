//! Whether a file is a Flott program that can run here, told without running it.

use std::fs;
use std::path::{Path, PathBuf};

use object::elf::FileHeader64;
use object::read::elf::ElfFile;
use object::{Architecture, Endianness, Object, ObjectSection, ReadRef};

use crate::program::{CONTROL_PROTOCOL, NOTE_SECTION, ProgramNote, VERSION, Versions};

/// Why a file cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum ProgramFileError {
    /// It cannot be read.
    #[error("cannot read the program {path}: {source}", path = .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is something else.
    #[error("{path} is no program: {reason}", path = .path.display())]
    NoProgram {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// It is for other machines.
    #[error("{path} is a program for {found}, but this machine is {own}: build it for {own}", path = .path.display())]
    OtherCpu {
        /// The file.
        path: PathBuf,
        /// What it is for.
        found: String,
        /// What this machine is.
        own: &'static str,
    },
    /// It does not use Flott.
    #[error("{path} is no Flott program: a program depends on the crate flott and calls execute", path = .path.display())]
    NotFlott {
        /// The file.
        path: PathBuf,
    },
    /// It speaks nothing that this engine understands.
    #[error(
        "{path} was built with Flott {found} (control protocol {protocol}), but this is Flott {VERSION} (control protocol \
         {CONTROL_PROTOCOL}): build it with Flott {VERSION}",
        path = .path.display()
    )]
    OtherVersion {
        /// The file.
        path: PathBuf,
        /// Its engine.
        found: String,
        /// What it speaks.
        protocol: Versions,
    },
    /// It was built where the C library is newer.
    #[error(
        "{path} needs glibc {major}.{minor}, but this machine has {own_major}.{own_minor}: build it on a system as old as the oldest \
         it shall run on, or for a musl target",
        path = .path.display(), major = .needed.0, minor = .needed.1, own_major = .own.0, own_minor = .own.1
    )]
    NewerLibc {
        /// The file.
        path: PathBuf,
        /// What it needs: major and minor version.
        needed: (u32, u32),
        /// What there is.
        own: (u32, u32),
    },
}

type Elf<'data, R> = ElfFile<'data, FileHeader64<Endianness>, R>;

/// Checks a file; what it says of itself, if it can run here.
///
/// # Errors
/// [`ProgramFileError`]: why it cannot.
pub fn check(path: &Path) -> Result<ProgramNote, ProgramFileError> {
    check_for(path, own_glibc())
}

fn check_for(path: &Path, own_glibc: Option<(u32, u32)>) -> Result<ProgramNote, ProgramFileError> {
    let path = path.to_owned();
    let metadata = match fs::metadata(&path) {
        Ok(metadata) => metadata,
        Err(source) => return Err(ProgramFileError::Unreadable { path, source }),
    };
    if !metadata.is_file() {
        return Err(ProgramFileError::NoProgram { path, reason: "it is no file" });
    }
    let file = match fs::File::open(&path) {
        Ok(file) => file,
        Err(source) => return Err(ProgramFileError::Unreadable { path, source }),
    };
    let content = object::ReadCache::new(file);
    let Ok(elf) = Elf::parse(&content) else {
        return Err(ProgramFileError::NoProgram { path, reason: "it is not in the ELF format of 64 bits" });
    };
    if elf.architecture() != own_architecture() {
        let found = format!("{:?}", elf.architecture());
        return Err(ProgramFileError::OtherCpu { path, found, own: std::env::consts::ARCH });
    }
    let section = elf.section_by_name(NOTE_SECTION).and_then(|section| section.data().ok());
    let Some(note) = section.and_then(ProgramNote::read) else {
        return Err(ProgramFileError::NotFlott { path });
    };
    if !note.control_protocol.meets(CONTROL_PROTOCOL) {
        let (found, protocol) = (note.engine_version, note.control_protocol);
        return Err(ProgramFileError::OtherVersion { path, found, protocol });
    }
    match (glibc_needed(&elf), own_glibc) {
        (Some(needed), Some(own)) if needed > own => Err(ProgramFileError::NewerLibc { path, needed, own }),
        _ => Ok(note),
    }
}

fn own_architecture() -> Architecture {
    match std::env::consts::ARCH {
        "x86_64" => Architecture::X86_64,
        "aarch64" => Architecture::Aarch64,
        _ => Architecture::Unknown,
    }
}

/// `GLIBC_2.38` as two numbers.
fn glibc_version(symbol_version: &[u8]) -> Option<(u32, u32)> {
    let version = std::str::from_utf8(symbol_version.strip_prefix(b"GLIBC_")?).ok()?;
    let (major, minor) = version.split_once('.')?;
    // There may be a third number, of bug fixes.
    Some((major.parse().ok()?, minor.split('.').next()?.parse().ok()?))
}

/// The newest version of glibc whose symbols a program uses; none if it uses none.
fn glibc_needed<'data, R: ReadRef<'data>>(elf: &Elf<'data, R>) -> Option<(u32, u32)> {
    let (endian, sections) = (elf.endian(), elf.elf_section_table());
    let (needs, names) = sections.gnu_verneed(endian, elf.data()).ok()??;
    let names = sections.strings(endian, elf.data(), names).ok()?;
    let of_files = needs.filter_map(Result::ok).flat_map(|(_, versions)| versions.filter_map(Result::ok));
    of_files.filter_map(|version| glibc_version(version.name(endian, names).ok()?)).max()
}

/// The version of the glibc that this process runs with; none if it runs with none.
fn own_glibc() -> Option<(u32, u32)> {
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    let path = maps.lines().filter_map(|line| Some(&line[line.find('/')?..])).find(|path| {
        Path::new(path).file_name().is_some_and(|name| name.to_string_lossy().starts_with("libc.so"))
    })?;
    let content = object::ReadCache::new(fs::File::open(path).ok()?);
    let elf = Elf::parse(&content).ok()?;
    let (endian, sections) = (elf.endian(), elf.elf_section_table());
    let (definitions, names) = sections.gnu_verdef(endian, elf.data()).ok()??;
    let names = sections.strings(endian, elf.data(), names).ok()?;
    let defined =
        definitions.filter_map(Result::ok).flat_map(|(_, versions)| versions.filter_map(Result::ok));
    defined.filter_map(|version| glibc_version(version.name(endian, names).ok()?)).max()
}

#[cfg(test)]
mod tests {
    use flott_fuzz::Decoder;

    use super::*;

    #[test]
    fn what_is_no_flott_program_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("script");
        fs::write(&script, "#!/bin/sh\n").unwrap();
        let told = |path: &Path| check(path).unwrap_err().to_string();
        assert!(told(&script).contains("not in the ELF format"));
        assert!(told(folder.path()).contains("it is no file"));
        assert!(told(&folder.path().join("missing")).contains("cannot read the program"));
        assert!(told(Path::new("/bin/sh")).contains("no Flott program"));
        // An ELF header of another machine.
        let mut elf = fs::read("/bin/sh").unwrap();
        elf[18..20].copy_from_slice(&243_u16.to_le_bytes());
        let other = folder.path().join("riscv");
        fs::write(&other, elf).unwrap();
        assert!(told(&other).contains("Riscv64"), "{}", told(&other));
    }

    #[test]
    fn this_test_is_one_and_says_what_it_speaks() {
        let own = std::env::current_exe().unwrap();
        let note = check(&own).unwrap();
        assert_eq!((note.engine_version.as_str(), note.control_protocol), (VERSION, CONTROL_PROTOCOL));
        assert!(note.target.starts_with(std::env::consts::ARCH), "{}", note.target);
        // The same file, with another number in its note.
        let mut other = fs::read(&own).unwrap();
        let name = b"\x01\0\0\0flott\0\0\0";
        let at = other.windows(name.len()).position(|window| window == name).unwrap() + name.len();
        other[at..at + 8].copy_from_slice(&[9, 0, 0, 0, 9, 0, 0, 0]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("other");
        fs::write(&path, other).unwrap();
        let error = check(&path).unwrap_err().to_string();
        assert!(error.contains("(control protocol 9), but this is Flott"), "{error}");
    }

    #[test]
    fn a_program_for_a_newer_libc_is_told_from_others() {
        assert_eq!(glibc_version(b"GLIBC_2.38"), Some((2, 38)));
        assert_eq!(glibc_version(b"GLIBC_2.2.5"), Some((2, 2)));
        assert_eq!(glibc_version(b"GLIBC_PRIVATE"), None);
        let own = std::env::current_exe().unwrap();
        if own_glibc().is_none() {
            return;
        }
        check(&own).unwrap();
        let error = check_for(&own, Some((2, 1))).unwrap_err().to_string();
        assert!(error.contains("but this machine has 2.1: build it on a system"), "{error}");
    }

    /// A program's header, its table of sections and the note; nothing that runs.
    fn smallest_program() -> Vec<u8> {
        let own = fs::read(std::env::current_exe().unwrap()).unwrap();
        let elf = Elf::parse(&*own).unwrap();
        let note = elf.section_by_name(NOTE_SECTION).unwrap().data().unwrap();
        let names = b"\0.note.flott\0.shstrtab\0";
        let sections = 64 + note.len() + names.len();
        let mut bytes = own[..64].to_vec();
        bytes[32..40].fill(0); // no segments
        bytes[40..48].copy_from_slice(&(sections as u64).to_le_bytes());
        bytes[56..58].fill(0);
        bytes[58..64].copy_from_slice(&[64, 0, 3, 0, 2, 0]);
        bytes.extend_from_slice(note);
        bytes.extend_from_slice(names);
        for (name, kind, offset, size) in
            [(0_u32, 0_u32, 0, 0), (1, 7, 64, note.len()), (13, 3, 64 + note.len(), names.len())]
        {
            let mut section = [0; 64];
            section[..4].copy_from_slice(&name.to_le_bytes());
            section[4..8].copy_from_slice(&kind.to_le_bytes());
            section[24..32].copy_from_slice(&(offset as u64).to_le_bytes());
            section[32..40].copy_from_slice(&(size as u64).to_le_bytes());
            bytes.extend_from_slice(&section);
        }
        bytes
    }

    #[test]
    fn fuzz_ha_programs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("program");
        fs::write(&path, smallest_program()).unwrap();
        check(&path).unwrap();
        Decoder::new("programs").sample(smallest_program()).bytes(|bytes| {
            fs::write(&path, bytes).unwrap();
            let _ = check_for(&path, Some((2, 17)));
            let _ = ProgramNote::read(bytes);
        });
    }
}
