//! Whether a file is a Flott program that can run here.

use std::fs;
use std::path::{Path, PathBuf};

use flott_cluster::program::{NOTE_SECTION, VERSION, is_compatible};
use object::{Architecture, Object, ObjectSection};

/// Why a file cannot be run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProgramFileError {
    #[error("cannot read the program {path}: {source}", path = .path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{path} is no program: {reason}", path = .path.display())]
    NoProgram { path: PathBuf, reason: String },
    #[error("{path} is a program for {found}, but this machine is {own}: build it for {own}", path = .path.display())]
    OtherCpu { path: PathBuf, found: String, own: &'static str },
    #[error("{path} is no Flott program: a program depends on the crate flott and calls execute", path = .path.display())]
    NotFlott { path: PathBuf },
    #[error("{path} was built with Flott {found}, but this is Flott {VERSION}: build it with {VERSION}", path = .path.display())]
    OtherVersion { path: PathBuf, found: String },
}

/// Checks a file without running it.
pub(crate) fn check(path: &Path) -> Result<(), ProgramFileError> {
    let path = path.to_owned();
    let no_program = |path: &Path, reason: &str| ProgramFileError::NoProgram {
        path: path.to_owned(),
        reason: reason.to_owned(),
    };
    let metadata = match fs::metadata(&path) {
        Ok(metadata) => metadata,
        Err(source) => return Err(ProgramFileError::Unreadable { path, source }),
    };
    if !metadata.is_file() {
        return Err(no_program(&path, "it is no file"));
    }
    let file = fs::File::open(&path)
        .map_err(|source| ProgramFileError::Unreadable { path: path.clone(), source })?;
    let content = object::ReadCache::new(file);
    let Ok(object) = object::File::parse(&content) else {
        return Err(no_program(&path, "it is not in the ELF format"));
    };
    if object.architecture() != own_architecture() {
        let found = format!("{:?}", object.architecture());
        return Err(ProgramFileError::OtherCpu { path, found, own: std::env::consts::ARCH });
    }
    let note = object.section_by_name(NOTE_SECTION).and_then(|section| section.data().ok());
    let Some(found) = note.and_then(version_in) else {
        return Err(ProgramFileError::NotFlott { path });
    };
    if !is_compatible(&found) {
        return Err(ProgramFileError::OtherVersion { path, found });
    }
    Ok(())
}

fn own_architecture() -> Architecture {
    match std::env::consts::ARCH {
        "x86_64" => Architecture::X86_64,
        "aarch64" => Architecture::Aarch64,
        _ => Architecture::Unknown,
    }
}

/// The version that a note holds: name length, content length, kind, name, content.
fn version_in(note: &[u8]) -> Option<String> {
    let word = |at: usize| Some(u32::from_le_bytes(*note.get(at..)?.first_chunk()?) as usize);
    let (name, content) = (word(0)?, word(4)?);
    let start = 12 + name.next_multiple_of(4);
    let text = note.get(start..start.checked_add(content)?)?;
    let text = text.split(|byte| *byte == 0).next()?;
    String::from_utf8(text.to_vec()).ok().filter(|version| !version.is_empty())
}

#[cfg(test)]
mod tests {
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
    fn this_test_is_one_and_its_version_fits() {
        check(&std::env::current_exe().unwrap()).unwrap();
        assert!(is_compatible(VERSION) && !is_compatible("7.0.0"));
        assert_eq!(version_in(&[0; 40]), None);
        assert_eq!(version_in(&[255; 40]), None);
    }
}
