//! A container image archive made of this executable, without a container engine.
//!
//! The image is the static executable at `/evenkeel` and a `/tmp`, nothing else. The archive is an OCI image layout
//! that also carries Docker's `manifest.json`, so that `kind load image-archive`, `ctr images import`, `docker load` and
//! `podman load` all take it. The same executable and tags give the same bytes.

use std::{
    collections::BTreeMap,
    fs, io,
    io::Write,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

mod elf;

#[cfg(test)]
mod tests;

/// The sample service's image; its answers say `x-evenkeel-version: v1`.
pub const DEMO_IMAGE_V1: &str = "docker.io/evenkeel/demo:v1";
/// The same under another name, so that an update has somewhere to go.
pub const DEMO_IMAGE_V2: &str = "docker.io/evenkeel/demo:v2";
/// The load agent's image, by this build's version: agent and harness always match.
pub const AGENT_IMAGE: &str = concat!("docker.io/evenkeel/agent:", env!("CARGO_PKG_VERSION"));
/// The images that experiments use.
pub const DEFAULT_TAGS: [&str; 3] = [DEMO_IMAGE_V1, DEMO_IMAGE_V2, AGENT_IMAGE];

/// The user that the image runs as, the number that images without a shell commonly use for "nobody in particular".
const USER: &str = "65532:65532";
/// Every time in the archive, so that the same executable gives the same bytes.
const EPOCH: &str = "1970-01-01T00:00:00Z";

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// Why no image archive could be written.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The executable could not be read.
    #[error("cannot read the executable {}", executable.display())]
    Read {
        /// Its path.
        executable: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It needs a dynamic linker, which the image would not have.
    #[error(
        "the executable {} is dynamically linked, so it would not start in an image that holds nothing else; build a \
         static one with scripts/build-static.sh and use that",
        executable.display()
    )]
    Dynamic {
        /// Its path.
        executable: PathBuf,
    },
    /// It is not a program for Linux nodes.
    #[error("{} cannot go into an image: {reason}; build it on Linux with scripts/build-static.sh", executable.display())]
    NotAnExecutable {
        /// Its path.
        executable: PathBuf,
        /// What was found.
        reason: String,
    },
    /// A tag without a name, or without the part after the colon.
    #[error("the image name {tag:?} is not of the form REGISTRY/NAME:TAG, such as {DEMO_IMAGE_V1}")]
    BadTag {
        /// What was given.
        tag: String,
    },
    /// No tags: nothing could ever refer to the image.
    #[error("an image archive needs at least one name, such as {DEMO_IMAGE_V1}")]
    NoTags,
    /// The archive could not be written.
    #[error("cannot write the image archive")]
    Write(#[source] io::Error),
}

/// What an archive holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSummary {
    /// As container images name it: `amd64`, `arm64` or `riscv64`.
    pub architecture: &'static str,
    /// Size of the whole archive.
    pub archive_bytes: u64,
    /// Each name with the digest of its manifest (`sha256:…`), in the order given.
    pub images: Vec<(String, String)>,
}

/// Writes an image archive of a static executable under the given names. Each name is an image of its own (it carries its
/// tag as a label and as `EVENKEEL_DEMO_VERSION`) on one shared layer, so that the kubelet reports which one it runs.
pub fn write_archive(executable: &Path, tags: &[&str], out: impl Write) -> Result<ImageSummary, ImageError> {
    if tags.is_empty() {
        return Err(ImageError::NoTags);
    }
    let program =
        fs::read(executable).map_err(|source| ImageError::Read { executable: executable.to_owned(), source })?;
    let architecture = elf::static_architecture(&program).map_err(|problem| match problem {
        elf::Problem::Dynamic => ImageError::Dynamic { executable: executable.to_owned() },
        elf::Problem::Other(reason) => ImageError::NotAnExecutable { executable: executable.to_owned(), reason },
    })?;
    let mut archive = Archive::new(architecture, layer(&program).map_err(ImageError::Write)?);
    for tag in tags {
        archive.add(tag)?;
    }
    archive.write(out).map_err(ImageError::Write)
}

/// The image's one layer, an uncompressed tar: it goes to nodes on the same machine.
fn layer(program: &[u8]) -> io::Result<Vec<u8>> {
    let mut layer = tar::Builder::new(Vec::with_capacity(program.len() + 4_096));
    let mut header = entry_header(0, 0o1777);
    header.set_entry_type(tar::EntryType::Directory);
    layer.append_data(&mut header, "tmp/", io::empty())?;
    layer.append_data(&mut entry_header(program.len() as u64, 0o755), "evenkeel", program)?;
    layer.into_inner()
}

/// A header of a file that is root's, from the epoch. Owner and time are the header's zeros.
fn entry_header(size: u64, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_size(size);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

/// An archive in the making: blobs by digest, and the two tables of contents.
struct Archive {
    architecture: &'static str,
    blobs: BTreeMap<String, Vec<u8>>,
    layer: Descriptor,
    oci_manifests: Vec<Value>,
    docker_manifests: Vec<Value>,
    images: Vec<(String, String)>,
}

/// A blob as others refer to it; the digest is hexadecimal, without `sha256:`.
#[derive(Clone)]
struct Descriptor {
    digest: String,
    size: usize,
}

impl Descriptor {
    fn to_json(&self, media_type: &str) -> Value {
        json!({ "mediaType": media_type, "digest": format!("sha256:{}", self.digest), "size": self.size })
    }

    fn path(&self) -> String {
        format!("blobs/sha256/{}", self.digest)
    }
}

impl Archive {
    fn new(architecture: &'static str, layer: Vec<u8>) -> Self {
        let mut blobs = BTreeMap::new();
        let layer = put(&mut blobs, layer);
        Self { architecture, blobs, layer, oci_manifests: Vec::new(), docker_manifests: Vec::new(), images: Vec::new() }
    }

    /// Adds an image under a name.
    fn add(&mut self, name: &str) -> Result<(), ImageError> {
        let version = tag_of(name).ok_or_else(|| ImageError::BadTag { tag: name.to_owned() })?;
        let config = json!({
            "created": EPOCH,
            "architecture": self.architecture,
            "os": "linux",
            "config": {
                "User": USER,
                // The path lets an exec hook write `evenkeel`, as on a machine where it is installed.
                "Env": ["PATH=/", format!("EVENKEEL_DEMO_VERSION={version}")],
                "Entrypoint": ["/evenkeel"],
                "WorkingDir": "/",
                "Labels": {
                    "org.opencontainers.image.title": "evenkeel",
                    "org.opencontainers.image.version": version,
                },
            },
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", self.layer.digest)] },
            "history": [{ "created": EPOCH, "created_by": "evenkeel image" }],
        });
        let config = put(&mut self.blobs, config.to_string().into_bytes());
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": config.to_json(OCI_CONFIG),
            "layers": [self.layer.to_json(OCI_LAYER)],
        });
        let manifest = put(&mut self.blobs, manifest.to_string().into_bytes());

        let mut entry = manifest.to_json(OCI_MANIFEST);
        entry["platform"] = json!({ "architecture": self.architecture, "os": "linux" });
        // containerd takes the full name from its own annotation; the standard one has room for the tag alone.
        entry["annotations"] =
            json!({ "io.containerd.image.name": name, "org.opencontainers.image.ref.name": version });
        self.oci_manifests.push(entry);
        self.docker_manifests.push(json!({
            "Config": config.path(),
            "RepoTags": [name],
            "Layers": [self.layer.path()],
        }));
        self.images.push((name.to_owned(), format!("sha256:{}", manifest.digest)));
        Ok(())
    }

    fn write(self, out: impl Write) -> io::Result<ImageSummary> {
        let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": self.oci_manifests });
        let mut files: Vec<(String, Vec<u8>)> = vec![
            ("oci-layout".to_owned(), json!({ "imageLayoutVersion": "1.0.0" }).to_string().into_bytes()),
            ("index.json".to_owned(), index.to_string().into_bytes()),
            ("manifest.json".to_owned(), Value::from(self.docker_manifests).to_string().into_bytes()),
        ];
        files.extend(self.blobs.into_iter().map(|(digest, blob)| (format!("blobs/sha256/{digest}"), blob)));

        let mut tar = tar::Builder::new(Counted { out, bytes: 0 });
        for (path, content) in &files {
            tar.append_data(&mut entry_header(content.len() as u64, 0o644), path, content.as_slice())?;
        }
        let mut counted = tar.into_inner()?;
        counted.flush()?;
        Ok(ImageSummary { architecture: self.architecture, archive_bytes: counted.bytes, images: self.images })
    }
}

fn put(blobs: &mut BTreeMap<String, Vec<u8>>, blob: Vec<u8>) -> Descriptor {
    let descriptor = Descriptor { digest: format!("{:x}", Sha256::digest(&blob)), size: blob.len() };
    blobs.insert(descriptor.digest.clone(), blob);
    descriptor
}

/// The part of an image name after the colon. A colon before a slash belongs to a registry's port. containerd refuses
/// names that are not complete, so the registry must be there.
fn tag_of(name: &str) -> Option<&str> {
    let (path, last) = name.rsplit_once('/')?;
    let (image, tag) = last.split_once(':')?;
    let registry = path.split('/').next()?;
    let complete = registry.contains(['.', ':']) || registry == "localhost";
    let written = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    };
    (complete && written(image) && written(tag)).then_some(tag)
}

/// A writer that knows how much has gone through it.
struct Counted<W> {
    out: W,
    bytes: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.out.write(buffer)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
