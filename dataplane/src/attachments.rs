//! The programs' attachments, kept as they are wanted, as the maps are.
//!
//! ```text
//! names, cgroup ─ targets ─► wanted ─ plan ─► [Step] ─ apply ─► links, by their pins
//!                                      ▲                          │
//!                                  installed ◄─── read, audit ────┘
//! ```
//!
//! What is wanted and the steps to it are pure. A look at the names of interfaces and pins is cheap, and is made
//! often; what is behind the pins is read at the start, after a failure, and when it is audited.

mod attachment;
mod pinned;
mod plan;
mod state;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::attach::{self, Error};
use crate::filters;
use crate::programs::{Programs, SOCKET_HOOKS, SocketHook, TC, XDP_LB};

pub use attachment::{Attachment, Found, Installed, Place, Target, Wanted, wanted};
pub use pinned::read;
pub use plan::{Step, plan};
pub use state::{State, lines};

use state::Failure;

/// What shall be attached to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Interfaces that packets from outside arrive on: they get all programs.
    pub interfaces: BTreeSet<String>,
    /// Interfaces that lead to pods: they get those in the network stack.
    pub pods: BTreeSet<String>,
    /// The cgroup whose sockets are translated.
    pub cgroup: Option<PathBuf>,
}

/// How closely to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// At names: which interfaces there are, and which pins.
    Names,
    /// At what is behind the pins, too.
    Links,
}

/// What was changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// New links.
    pub attached: BTreeSet<Attachment>,
    /// Links that run our program again, or for the first time.
    pub updated: BTreeSet<Attachment>,
    /// Pins that were removed, and their links with them.
    pub removed: BTreeSet<String>,
}

/// The programs, and where they are attached.
pub struct Attachments {
    programs: Programs,
    ids: BTreeMap<&'static str, u32>,
    folder: PathBuf,
    wanted: Wanted,
    installed: Installed,
    failures: BTreeMap<Attachment, Failure>,
    /// Interfaces that got their clsact qdisc from us.
    qdiscs: BTreeSet<u32>,
    /// Interfaces whose driver has no XDP: nothing is missing where the classifiers are attached.
    without_xdp: BTreeSet<u32>,
    /// Pins of links that are new since the start.
    made: BTreeSet<String>,
    /// Something went wrong: what is there has to be read.
    doubtful: bool,
}

impl Attachments {
    /// Of loaded programs, with what earlier agents pinned in a folder of links.
    ///
    /// # Errors
    /// [`Error`]
    pub fn open(mut programs: Programs, folder: &Path) -> Result<Self, Error> {
        Ok(Self {
            ids: ids(&mut programs)?,
            programs,
            folder: folder.to_owned(),
            wanted: Wanted::new(),
            installed: Installed::new(),
            failures: BTreeMap::new(),
            qdiscs: BTreeSet::new(),
            without_xdp: BTreeSet::new(),
            made: BTreeSet::new(),
            doubtful: true,
        })
    }

    /// The programs.
    pub fn programs(&mut self) -> &mut Programs {
        &mut self.programs
    }

    /// Makes the attachments what is asked for, as far as can be at this time. What cannot be is tried again
    /// at [`due`](Self::due), and when its target changes.
    pub fn settle(&mut self, asked: &Asked, look: Look, now: Instant) -> Changes {
        let mut changes = Changes::default();
        let mut wanted = targets(asked);
        wanted.retain(|attachment, target| !self.has_no_xdp(attachment, *target));
        let lost = self.look(look);
        let due = self.due().is_some_and(|due| due <= now);
        if wanted == self.wanted && !lost && !due && look == Look::Names {
            return changes;
        }
        let before = std::mem::replace(&mut self.wanted, wanted);
        self.look_again();
        let steps = plan(&self.wanted, &self.installed, &self.ids);
        let still: BTreeSet<&Attachment> = steps.iter().filter_map(subject).collect();
        let same = |at: &Attachment| before.get(at) == self.wanted.get(at);
        self.failures.retain(|attachment, _| same(attachment) && still.contains(attachment));
        for step in &steps {
            match (self.apply(step, asked, now, look, &mut changes), subject(step)) {
                (Ok(()), _) => {}
                (Err(error), Some(attachment)) => self.failed(attachment, error, now),
                (Err(error), None) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "a pin stays as it is; it is tried again within a second");
                    self.doubtful = true;
                }
            }
        }
        changes
    }

    /// When what failed is tried again.
    pub fn due(&self) -> Option<Instant> {
        self.failures.values().map(|failure| failure.due).min()
    }

    /// What became of everything that is wanted.
    pub fn states(&self) -> Vec<State> {
        let state = |(attachment, target): (&Attachment, &Option<Target>)| {
            let found = self.installed.get(&attachment.pin());
            State::new(attachment, *target, found, self.failures.get(attachment))
        };
        self.wanted.iter().map(state).collect()
    }

    /// Takes away what was attached since the start: this agent does not come to work.
    pub fn undo(&mut self) {
        for pin in std::mem::take(&mut self.made) {
            if let Err(error) = filters::detach(&self.folder.join(&pin)) {
                tracing::warn!(pin, %error, "cannot detach");
            }
            self.installed.remove(&pin);
        }
        std::mem::take(&mut self.qdiscs).into_iter().for_each(filters::remove_qdisc);
    }

    /// The error of what could not be attached and is not asked for by a pattern.
    pub fn refusal(&mut self, is_named: impl Fn(&Attachment) -> bool) -> Option<Error> {
        let absent = self.wanted.iter().find(|(at, target)| target.is_none() && is_named(at));
        if let Some((Attachment { place: Place::Interface(name), .. }, _)) = absent {
            return Some(Error::NoInterface(name.clone()));
        }
        let failed = self.failures.keys().find(|at| !at.can_be_missed() && is_named(at)).cloned()?;
        self.failures.remove(&failed).map(|failure| failure.error)
    }

    /// Brings the model up to what is there; true if it may not be as it was.
    fn look(&mut self, look: Look) -> bool {
        if look == Look::Names && !self.doubtful {
            let present = names(&self.folder);
            let before = self.installed.len();
            self.installed.retain(|pin, _| present.contains(pin));
            return self.installed.len() != before;
        }
        // Somebody may have removed the folder as a whole.
        let read = fs::create_dir_all(&self.folder)
            .map_err(|error| attach::pin_error(&self.folder, error))
            .and_then(|()| read(&self.folder));
        match read {
            Ok(found) => (self.installed, self.doubtful) = (found, false),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "the pinned links cannot be read; they are read again within a second");
                self.doubtful = true;
            }
        }
        true
    }

    /// Reads the links that are not where they are wanted: their interface may be gone, or be called
    /// otherwise.
    fn look_again(&mut self) {
        for (pin, found) in std::mem::take(&mut self.installed) {
            if self.wanted.get(&found.attachment) == Some(&found.target) {
                self.installed.insert(pin, found);
                continue;
            }
            match pinned::found(&self.folder.join(&pin), &found.attachment) {
                Ok(now) => self.installed.extend(now.map(|now| (pin, now))),
                Err(error) => {
                    tracing::debug!(pin, error = &error as &dyn std::error::Error, "cannot be read");
                    self.doubtful = true;
                }
            }
        }
    }

    fn apply(
        &mut self,
        step: &Step,
        asked: &Asked,
        now: Instant,
        look: Look,
        changes: &mut Changes,
    ) -> Result<(), Error> {
        let path = |pin: &str| self.folder.join(pin);
        match step {
            Step::Rename { from, to } => {
                fs::rename(path(from), path(to)).map_err(|e| attach::pin_error(&path(from), e))?;
                if let Some(found) = self.installed.remove(from) {
                    self.installed.insert(to.clone(), found);
                }
            }
            Step::Remove(pin) => {
                filters::detach(&path(pin)).map_err(|e| attach::pin_error(&path(pin), e))?;
                self.installed.remove(pin);
                self.made.remove(pin);
                changes.removed.insert(pin.clone());
            }
            Step::Update(attachment) => {
                attach::update(&mut self.programs, attachment, &path(&attachment.pin()))?;
                self.attached(attachment)?;
                changes.updated.insert(attachment.clone());
            }
            Step::Attach(attachment, target) => {
                let waits = self.failures.get(attachment).is_some_and(|failure| failure.due > now);
                if waits && look == Look::Names {
                    return Ok(());
                }
                match self.attach(attachment, *target, asked) {
                    Err(Error::NoNativeXdp(interface)) => {
                        tracing::info!(interface, "the driver has no XDP; packets are served at tc");
                        if let Target::Interface(index) = target {
                            self.without_xdp.insert(*index);
                        }
                        self.wanted.remove(attachment);
                        self.failures.remove(attachment);
                    }
                    done => {
                        done?;
                        changes.attached.insert(attachment.clone());
                    }
                }
            }
        }
        Ok(())
    }

    fn attach(&mut self, attachment: &Attachment, target: Target, asked: &Asked) -> Result<(), Error> {
        if let (Some(name), Target::Interface(index)) = (attachment.on(), target)
            && filters::needed()
            && TC.contains(&attachment.program)
            && filters::prepare(name)
        {
            self.qdiscs.insert(index);
        }
        fs::create_dir_all(&self.folder).map_err(|e| attach::pin_error(&self.folder, e))?;
        let pin = self.folder.join(attachment.pin());
        attach::attach(&mut self.programs, attachment, asked.cgroup.as_deref(), target, &pin)?;
        self.made.insert(attachment.pin());
        self.attached(attachment)
    }

    /// Whether an attachment is XDP at an interface whose driver has none.
    fn has_no_xdp(&self, attachment: &Attachment, target: Option<Target>) -> bool {
        let index = match target {
            Some(Target::Interface(index)) => index,
            _ => return false,
        };
        attachment.can_be_missed() && self.without_xdp.contains(&index)
    }

    /// Reads what is behind an attachment's pin: its target may be another one than was meant.
    fn attached(&mut self, attachment: &Attachment) -> Result<(), Error> {
        let pin = attachment.pin();
        let found = pinned::found(&self.folder.join(&pin), attachment)?;
        let target = found.as_ref().and_then(|found| found.target);
        self.doubtful |=
            self.wanted.get(attachment).is_some_and(|wanted| wanted.is_some() && *wanted != target);
        self.installed.extend(found.map(|found| (pin, found)));
        self.failures.remove(attachment);
        Ok(())
    }

    fn failed(&mut self, attachment: &Attachment, error: Error, now: Instant) {
        self.doubtful = true;
        let tries = self.failures.get(attachment).map_or(0, |failure| failure.tries + 1);
        tracing::debug!(%attachment, tries, error = &error as &dyn std::error::Error, "not attached");
        self.failures.insert(attachment.clone(), Failure::new(error, tries, now));
    }
}

/// What a step is about, if it is something that is wanted.
fn subject(step: &Step) -> Option<&Attachment> {
    match step {
        Step::Update(attachment) | Step::Attach(attachment, _) => Some(attachment),
        Step::Rename { .. } | Step::Remove(_) => None,
    }
}

fn targets(asked: &Asked) -> Wanted {
    let cgroup = asked.cgroup.as_deref().map(|cgroup| attach::cgroup_target(cgroup).ok());
    let names = attach::names();
    let interface = |name: &str| names.as_ref().ok().and_then(|names| names.target(name).ok());
    wanted(&asked.interfaces, &asked.pods, cgroup, interface)
}

/// The kernel's numbers of the programs.
fn ids(programs: &mut Programs) -> Result<BTreeMap<&'static str, u32>, Error> {
    let unknown = |program: &'static str| {
        move |source: aya::programs::ProgramError| Error::Refused {
            program,
            target: "anything: it has no number".to_owned(),
            source: Box::new(source),
        }
    };
    let mut ids = BTreeMap::from([(XDP_LB, programs.xdp()?.info().map_err(unknown(XDP_LB))?.id())]);
    for name in TC {
        ids.insert(name, programs.classifier(name)?.info().map_err(unknown(name))?.id());
    }
    for name in SOCKET_HOOKS {
        let info = match programs.socket_hook(name)? {
            SocketHook::Address(program) => program.info(),
            SocketHook::Release(program) => program.info(),
        };
        ids.insert(name, info.map_err(unknown(name))?.id());
    }
    Ok(ids)
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
