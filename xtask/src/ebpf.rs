//! The committed eBPF objects: how they are built, and whether they are what the sources say.
//!
//! Both objects lie in `dataplane/object/` beside `built-from.txt`, which holds the hash of the
//! sources, the compiler's commit and the linker's version.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::Args as ClapArgs;
use object::build::elf::{Builder, SectionData};
use object::elf::SHT_STRTAB;
use object::write::StreamingBuffer;
use rustc_demangle::demangle;
use sha2::{Digest, Sha256};

use crate::workspace;

/// `cargo xtask ebpf`
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// Build, compare with the committed objects, and change nothing.
    #[arg(long)]
    check: bool,
}

/// Binary of the package `seaway-ebpf`, and the object made from it.
const OBJECTS: [(&str, &str); 2] = [("seaway-bpf", "seaway.bpf.o"), ("feed-bpf", "feed.bpf.o")];

/// Everything an object is made from in this repository.
const SOURCES: [&str; 4] = ["common/Cargo.toml", "common/src", "ebpf/Cargo.toml", "ebpf/src"];

const NIGHTLY: &str = "+nightly";

/// Points at a folder that holds the standard library's `library` folder, or at that folder.
const RUST_SRC: &str = "SEAWAY_RUST_SRC";

/// Rebuilds the objects, or checks the committed ones.
pub(crate) fn run(args: &Args) -> Result<()> {
    let built = build()?;
    let origin = origin()?;
    let folder = workspace::root().join("dataplane/object");
    if !args.check {
        fs::create_dir_all(&folder)?;
        for (name, bytes) in &built {
            fs::write(folder.join(name), bytes)?;
            println!("{name}: {} bytes", bytes.len());
        }
        fs::write(folder.join("built-from.txt"), origin)?;
        return Ok(());
    }
    let recorded =
        fs::read_to_string(folder.join("built-from.txt")).context("dataplane/object/built-from.txt")?;
    ensure!(
        recorded == origin,
        "the committed objects were built from something else; run `cargo xtask ebpf` with the same tools.\n\
         committed:\n{recorded}here:\n{origin}"
    );
    for (name, bytes) in &built {
        let committed = fs::read(folder.join(name)).with_context(|| format!("dataplane/object/{name}"))?;
        ensure!(committed == *bytes, "{name} is not what its sources make; run `cargo xtask ebpf`");
        println!("{name}: up to date");
    }
    Ok(())
}

/// Hash over names and contents of all sources, in order of their names.
pub(crate) fn source_hash() -> Result<String> {
    let mut files = Vec::new();
    for source in SOURCES {
        collect(&workspace::root().join(source), &mut files)?;
    }
    files.sort();
    let mut hash = Sha256::new();
    for file in files {
        let name = file.strip_prefix(workspace::root())?.to_string_lossy().replace('\\', "/");
        let content = fs::read(&file)?;
        hash.update(format!("{name} {}\n", content.len()));
        hash.update(content);
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if path.is_file() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(path).with_context(|| path.display().to_string())? {
        collect(&entry?.path(), files)?;
    }
    Ok(())
}

/// The text of `built-from.txt`.
fn origin() -> Result<String> {
    let rustc = workspace::output(Command::new("rustc").args([NIGHTLY, "-vV"]))?;
    let commit = rustc.lines().find_map(|line| line.strip_prefix("commit-hash: ")).unwrap_or("unknown");
    let linker = workspace::output(Command::new("bpf-linker").arg("--version"))?;
    Ok(format!("sources {}\nrustc {commit}\nlinker {linker}\n", source_hash()?))
}

/// Compiles both programs and strips what user space does not need.
fn build() -> Result<Vec<(&'static str, Vec<u8>)>> {
    let target = workspace::root().join("target/ebpf");
    let library = library()?;
    let mut command = workspace::cargo();
    command
        .args([NIGHTLY, "build", "--package", "seaway-ebpf", "--profile", "ebpf", "--locked"])
        .args(["--target", "bpfel-unknown-none", "-Z", "build-std=core"])
        .env("CARGO_TARGET_DIR", &target)
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags(&library)?.join("\x1f"))
        .env_remove("RUSTFLAGS")
        .env_remove("RUSTC")
        .env_remove("RUSTUP_TOOLCHAIN");
    if std::env::var_os(RUST_SRC).is_some() {
        // Cargo's own tests use this variable to build the standard library from elsewhere.
        command.env("__CARGO_TESTS_ONLY_SRC_ROOT", &library);
    }
    workspace::run(&mut command)?;
    OBJECTS
        .iter()
        .map(|(binary, name)| {
            let file = target.join("bpfel-unknown-none/ebpf").join(binary);
            let linked = fs::read(&file).with_context(|| file.display().to_string())?;
            Ok((*name, strip(&linked).with_context(|| format!("cannot strip {binary}"))?))
        })
        .collect()
}

/// The standard library's sources: those named by the variable, else those of the nightly.
fn library() -> Result<PathBuf> {
    let sysroot = workspace::output(Command::new("rustc").args([NIGHTLY, "--print", "sysroot"]))?;
    let given = std::env::var_os(RUST_SRC).map(PathBuf::from);
    let folder = given.unwrap_or_else(|| Path::new(&sysroot).join("lib/rustlib/src/rust"));
    for candidate in [folder.join("library"), folder.clone()] {
        if candidate.join("core/Cargo.toml").exists() {
            return Ok(candidate);
        }
    }
    bail!(
        "no Rust standard library sources in {}: run `rustup component add rust-src --toolchain nightly`, \
         or set {RUST_SRC} to a folder that has them",
        folder.display()
    )
}

/// Flags that give the same bytes in every folder and on every host.
fn rustflags(library: &Path) -> Result<Vec<String>> {
    let cargo_home =
        std::env::var("CARGO_HOME").or_else(|_| std::env::var("HOME").map(|h| format!("{h}/.cargo")));
    let registry = Path::new(&cargo_home.context("neither CARGO_HOME nor HOME is set")?).join("registry/src");
    let mut flags = vec![
        "-Cdebuginfo=2".to_owned(),
        "-Clink-arg=--btf".to_owned(),
        // Otherwise each zeroing is a call of `memset`: docs/verifier.md.
        "-Clink-arg=--disable-expand-memcpy-in-order".to_owned(),
        // 32-bit arithmetic and jumps: kernel 5.1 and newer.
        "-Ctarget-cpu=v3".to_owned(),
    ];
    let mut remap =
        |from: &Path, to: &str| flags.push(format!("--remap-path-prefix={}={to}", from.display()));
    remap(workspace::root(), "/seaway");
    remap(library, "/rust/library");
    for index in fs::read_dir(registry).context("no crates have been downloaded yet")? {
        remap(&index?.path(), "/crates");
    }
    Ok(flags)
}

/// Removes DWARF and keeps BTF: debug sections name folders, and nothing in the kernel reads them.
fn strip(linked: &[u8]) -> Result<Vec<u8>> {
    let mut elf = Builder::read(linked)?;
    for section in &mut elf.sections {
        let name = section.name.to_string();
        section.delete = name.starts_with(".debug_") || name.starts_with(".rel.debug_");
    }
    // The linker keeps section names and symbol names in one table; the writer wants two.
    if !elf.sections.iter().any(|section| matches!(section.data, SectionData::SectionString)) {
        let names = elf.sections.add();
        names.name = ".shstrtab".into();
        names.sh_type = SHT_STRTAB;
        names.sh_addralign = 1;
        names.data = SectionData::SectionString;
    }
    for symbol in &mut elf.symbols {
        symbol.name = portable_name(&String::from_utf8_lossy(&symbol.name)).into_bytes().into();
    }
    elf.delete_orphans();
    elf.set_section_sizes();
    let mut out = Vec::new();
    elf.write(&mut StreamingBuffer::new(&mut out))?;
    Ok(out)
}

/// The name of a symbol without the hash over the folder of the standard library: mangled names end
/// with one, and those of unnamed constants (`anon.HASH.NUMBER`) are little else.
fn portable_name(name: &str) -> String {
    match name.strip_prefix("anon.").and_then(|rest| rest.split_once('.')) {
        Some((_, number)) => format!("anon.{number}"),
        None => format!("{:#}", demangle(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_symbols_hold_no_hash() {
        assert_eq!(portable_name("anon.ff8d4615529f606dab40858a58d69c10.0"), "anon.0");
        assert_eq!(portable_name("_ZN4core3fmt5write17h0123456789abcdefE"), "core::fmt::write");
        assert_eq!(portable_name("tc_ingress"), "tc_ingress");
    }

    #[test]
    fn the_committed_objects_were_built_from_these_sources() {
        let file = workspace::root().join("dataplane/object/built-from.txt");
        let recorded = fs::read_to_string(file).expect("built-from.txt");
        let first = recorded.lines().next().expect("a first line");
        let hash = source_hash().expect("sources are readable");
        assert_eq!(first, format!("sources {hash}"), "run `cargo xtask ebpf` and commit the result");
    }

    #[test]
    fn the_committed_objects_name_no_folder_of_their_builder() {
        for (_, name) in OBJECTS {
            let bytes = fs::read(workspace::root().join("dataplane/object").join(name)).expect(name);
            let text = String::from_utf8_lossy(&bytes);
            for prefix in ["/home/", "/root/", "/work/", "/usr/", "/tmp/", ".cargo"] {
                assert!(!text.contains(prefix), "{name} contains {prefix}");
            }
        }
    }
}
