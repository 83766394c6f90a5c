//! Archives made of small ELF headers, read back and followed from the table of contents down to the executable, as an
//! engine would.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    path::Path,
};

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{AGENT_IMAGE, DEFAULT_TAGS, DEMO_IMAGE_V1, DEMO_IMAGE_V2, ImageError, ImageSummary, elf, write_archive};

/// An ELF header with program headers of the given types, and something that makes it a file worth packing.
fn program(machine: u16, segments: &[u32]) -> Vec<u8> {
    let mut elf = vec![0; 64 + 56 * segments.len()];
    elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
    elf[18..20].copy_from_slice(&machine.to_le_bytes());
    elf[32..40].copy_from_slice(&64_u64.to_le_bytes());
    elf[54..56].copy_from_slice(&56_u16.to_le_bytes());
    elf[56..58].copy_from_slice(&u16::try_from(segments.len()).unwrap().to_le_bytes());
    for (index, kind) in segments.iter().enumerate() {
        elf[64 + 56 * index..][..4].copy_from_slice(&kind.to_le_bytes());
    }
    elf.extend_from_slice(b"the rest of the program");
    elf
}

const LOAD: u32 = 1;
const DYNAMIC: u32 = 2;

fn archive_of(program: &[u8], tags: &[&str]) -> Result<(Vec<u8>, ImageSummary), ImageError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(program).unwrap();
    let mut archive = Vec::new();
    write_archive(file.path(), tags, &mut archive).map(|summary| (archive, summary))
}

fn files(archive: &[u8]) -> BTreeMap<String, (tar::Header, Vec<u8>)> {
    let mut read = tar::Archive::new(archive);
    let entries = read.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        (entry.path().unwrap().display().to_string(), (entry.header().clone(), content))
    });
    entries.collect()
}

fn json(content: &[u8]) -> Value {
    serde_json::from_slice(content).unwrap()
}

#[test]
fn each_name_leads_to_the_executable_with_every_digest_and_size_right() {
    let program = program(62, &[LOAD, DYNAMIC]);
    let (archive, summary) = archive_of(&program, &DEFAULT_TAGS).unwrap();
    assert_eq!(summary.archive_bytes, archive.len() as u64);
    let files = files(&archive);
    let blob = |descriptor: &Value| {
        let digest = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
        let content = &files[&format!("blobs/sha256/{digest}")].1;
        assert_eq!(format!("{:x}", Sha256::digest(content)), digest);
        assert_eq!(descriptor["size"], content.len());
        content
    };
    let index = json(&files["index.json"].1);
    for (entry, (name, digest)) in index["manifests"].as_array().unwrap().iter().zip(&summary.images) {
        assert_eq!(entry["annotations"]["io.containerd.image.name"], name.as_str());
        assert_eq!(entry["digest"], digest.as_str());
        let manifest = json(blob(entry));
        let config = json(blob(&manifest["config"]));
        assert_eq!(config["config"]["Entrypoint"], serde_json::json!(["/evenkeel"]));
        assert_eq!(config["config"]["User"], "65532:65532");
        assert_eq!(config["architecture"], "amd64");
        assert_eq!(config["rootfs"]["diff_ids"][0], manifest["layers"][0]["digest"]);
        let layer = self::files(blob(&manifest["layers"][0]));
        assert_eq!(layer.keys().collect::<Vec<_>>(), ["evenkeel", "tmp/"]);
        assert_eq!(layer["evenkeel"].1, program);
        assert_eq!(layer["evenkeel"].0.mode().unwrap(), 0o755);
        assert_eq!(layer["tmp/"].0.mode().unwrap(), 0o1777);
    }
    assert_eq!(summary.images.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), DEFAULT_TAGS);
}

#[test]
fn dockers_own_table_of_contents_names_the_same_blobs() {
    let (archive, _) = archive_of(&program(62, &[LOAD]), &DEFAULT_TAGS).unwrap();
    let files = files(&archive);
    let manifests = json(&files["manifest.json"].1);
    let tags: Vec<_> = manifests.as_array().unwrap().iter().map(|image| &image["RepoTags"][0]).collect();
    assert_eq!(tags, DEFAULT_TAGS);
    for image in manifests.as_array().unwrap() {
        assert!(files.contains_key(image["Config"].as_str().unwrap()));
        assert!(files.contains_key(image["Layers"][0].as_str().unwrap()));
    }
}

#[test]
fn the_two_versions_are_two_images_that_share_their_layer() {
    let (archive, summary) = archive_of(&program(62, &[LOAD]), &[DEMO_IMAGE_V1, DEMO_IMAGE_V2]).unwrap();
    assert_ne!(summary.images[0].1, summary.images[1].1);
    let manifests = json(&files(&archive)["manifest.json"].1);
    assert_ne!(manifests[0]["Config"], manifests[1]["Config"], "the kubelet tells images apart by their configuration");
    assert_eq!(manifests[0]["Layers"], manifests[1]["Layers"]);
}

#[test]
fn the_same_executable_gives_the_same_bytes_and_another_one_does_not() {
    let one = program(62, &[LOAD]);
    let (first, _) = archive_of(&one, &DEFAULT_TAGS).unwrap();
    assert_eq!(archive_of(&one, &DEFAULT_TAGS).unwrap().0, first);
    assert_ne!(archive_of(&program(62, &[LOAD, LOAD]), &DEFAULT_TAGS).unwrap().0, first);
}

#[test]
fn an_executable_that_needs_a_dynamic_linker_is_refused_with_what_to_run() {
    let error = archive_of(&program(62, &[LOAD, 3, DYNAMIC]), &DEFAULT_TAGS).unwrap_err();
    assert!(matches!(error, ImageError::Dynamic { .. }));
    assert!(error.to_string().contains("scripts/build-static.sh"), "{error}");
}

#[test]
fn architectures_have_the_names_that_container_images_use() {
    for (machine, name) in [(62, "amd64"), (183, "arm64"), (243, "riscv64")] {
        assert_eq!(archive_of(&program(machine, &[LOAD]), &[AGENT_IMAGE]).unwrap().1.architecture, name);
    }
}

#[test]
fn what_is_no_program_for_a_node_is_refused() {
    let mut big_endian = program(62, &[LOAD]);
    big_endian[5] = 2;
    let mut cut_short = program(62, &[LOAD, LOAD]);
    cut_short.truncate(100);
    let mut far_away = program(62, &[LOAD]);
    far_away[32..40].copy_from_slice(&u64::MAX.to_le_bytes());
    let table = [
        (b"#!/bin/sh\n".to_vec(), "not an ELF file"),
        (Vec::new(), "not an ELF file"),
        (b"\x7fELF\x02\x01".to_vec(), "ends before"),
        (big_endian, "little-endian"),
        (program(8, &[LOAD]), "machine type 8"),
        (program(62, &[]), "no program headers"),
        (cut_short, "ends before"),
        (far_away, "ends before"),
    ];
    for (program, words) in table {
        let elf::Problem::Other(reason) = elf::static_architecture(&program).unwrap_err() else { panic!("{words}") };
        assert!(reason.contains(words), "{reason}");
    }
}

#[test]
fn names_that_containerd_would_not_take_are_refused() {
    for tag in ["demo:v1", "evenkeel/demo:v1", "docker.io/evenkeel/demo", "docker.io/demo:", "localhost:5000/demo", ""]
    {
        let error = archive_of(&program(62, &[LOAD]), &[tag]).unwrap_err();
        assert!(matches!(error, ImageError::BadTag { .. }), "{tag}: {error}");
    }
    for tag in ["localhost:5000/demo:v1", "localhost/demo:v1", "ghcr.io/a/b/c:1.2.3_rc-1"] {
        archive_of(&program(62, &[LOAD]), &[tag]).unwrap();
    }
    assert!(matches!(archive_of(&program(62, &[LOAD]), &[]), Err(ImageError::NoTags)));
}

#[test]
fn a_missing_executable_and_a_full_disk_are_told_apart() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let missing = write_archive(Path::new("/no/such/program"), &DEFAULT_TAGS, io::sink()).unwrap_err();
    assert!(matches!(missing, ImageError::Read { .. }));
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&program(62, &[LOAD])).unwrap();
    let full = write_archive(file.path(), &DEFAULT_TAGS, Full).unwrap_err();
    assert!(matches!(full, ImageError::Write(error) if error.kind() == io::ErrorKind::StorageFull));
}
