// SPDX-License-Identifier: Apache-2.0
//! Asks and tells the kernel.

use netlink::{Socket, protocols::NETLINK_GENERIC};
use netlink_packet_core::DecodeError;
use netlink_packet_generic::GenlMessage;

use crate::{
    Daemon, Destination, Error, Info, ObservedDestination, ObservedService, Refusal, Request, ServiceId, Timeouts,
    Version,
    asked::AskedDestination,
    family,
    message::{Command, Content, Message},
};

/// A connection to the IPVS of one network namespace, that of the thread that opens it.
///
/// Reading needs CAP_NET_ADMIN as well as changing does. Operations take `&mut self`, because the kernel allows one dump at a
/// time per socket. Any of their futures may be dropped; what had been sent is executed.
#[derive(Debug)]
pub struct Client {
    socket: Socket<GenlMessage<Message>>,
    family: u16,
}

impl Client {
    /// Finds the kernel's IPVS; the kernel loads the module `ip_vs` if it can.
    ///
    /// Must be called within a tokio runtime that has I/O and time enabled; tokio panics otherwise.
    ///
    /// # Errors
    /// [`Error::NoIpvs`] if the kernel has none.
    pub async fn open() -> Result<Self, Error> {
        let family = family::number().await?;
        let socket = Socket::open(NETLINK_GENERIC).map_err(Error::Lookup)?;
        Ok(Client { socket, family })
    }

    /// Executes the requests in order, many to a send, and says for each what the kernel made of it. A refused request does
    /// not stop those after it.
    ///
    /// # Errors
    /// [`Error::Batch`] if the verdicts are not known.
    pub async fn batch(&mut self, requests: &[Request]) -> Result<Vec<Result<(), Refusal>>, Error> {
        let family = self.family;
        let verdicts = self
            .socket
            .transact(packed(requests, family))
            .await
            .map_err(|source| Error::Batch { requests: requests.len(), source })?;
        let named = |(verdict, request): (Result<_, _>, &Request)| {
            verdict.map_err(|error| Refusal::new(request.command(), error))
        };
        Ok(verdicts.into_iter().zip(requests).map(named).collect())
    }

    /// Executes one request.
    ///
    /// # Errors
    /// [`Error::Refused`] with the kernel's errno.
    pub async fn execute(&mut self, request: Request) -> Result<(), Error> {
        let verdicts = self.batch(std::slice::from_ref(&request)).await?;
        match verdicts.into_iter().collect() {
            Ok(()) => Ok(()),
            Err(source) => Err(Error::Refused { request: Box::new(request), source }),
        }
    }

    /// Version and size of the connection table.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub async fn info(&mut self) -> Result<Info, Error> {
        let info = self.get(Command::GetInfo, Content::default(), || "the version".into()).await?.info;
        Ok(Info {
            version: Version(info.version.unwrap_or_default()),
            connection_table_size: info.connection_table_size.unwrap_or_default(),
        })
    }

    /// The time-outs of connections.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub async fn timeouts(&mut self) -> Result<Timeouts, Error> {
        let answer = self.get(Command::GetConfig, Content::default(), || "the time-outs".into()).await?;
        Ok(Timeouts {
            tcp: answer.content.timeout_tcp.unwrap_or_default(),
            tcp_fin: answer.content.timeout_tcp_fin.unwrap_or_default(),
            udp: answer.content.timeout_udp.unwrap_or_default(),
        })
    }

    /// One service.
    ///
    /// # Errors
    /// [`Error::Read`]; [`Error::not_found`] is true of it if there is no such service.
    pub async fn service(&mut self, id: &ServiceId) -> Result<ObservedService, Error> {
        let what = || format!("service {id}");
        let content = Content { service: Some(id.into()), ..Content::default() };
        let answer = self.get(Command::GetService, content, what).await?;
        service_of(answer).map_err(|source| Error::Decode { what: what(), source })
    }

    /// All services, as they arrive. The order is the kernel's: by hash.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub async fn each_service(&mut self, mut each: impl FnMut(ObservedService)) -> Result<(), Error> {
        let what = || "the services".into();
        let content = Content::default();
        self.list(Command::GetService, content, what, |answer| service_of(answer).map(&mut each)).await
    }

    /// All services.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub async fn services(&mut self) -> Result<Vec<ObservedService>, Error> {
        let mut services = Vec::new();
        self.each_service(|service| services.push(service)).await?;
        Ok(services)
    }

    /// The destinations of one service, as they arrive. The kernel reports none, and no error, for a service that is not there.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub async fn each_destination(
        &mut self,
        id: &ServiceId,
        mut each: impl FnMut(ObservedDestination),
    ) -> Result<(), Error> {
        let what = || format!("the destinations of {id}");
        let content = Content { service: Some(id.into()), ..Content::default() };
        let family = id.family();
        self.list(Command::GetDest, content, what, |answer| {
            let attributes = answer.content.destination.ok_or("an answer without a destination")?;
            ObservedDestination::from_attributes(attributes, family).map(&mut each)
        })
        .await
    }

    /// What was asked for of the destinations of one service, as they arrive: counters are not read. The kernel reports none, and no
    /// error, for a service that is not there.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub async fn each_asked(&mut self, id: &ServiceId, mut each: impl FnMut(Destination)) -> Result<(), Error> {
        let what = || format!("the destinations of {id}");
        let content = Content { service: Some(id.into()), ..Content::default() };
        let request = wrap(Message::new(Command::GetDest, content), self.family);
        let mut odd = Ok(());
        let dumped = self.socket.dump_as(request, |AskedDestination(attributes)| {
            match ObservedDestination::from_attributes(attributes, id.family()) {
                Ok(found) => each(*found.as_requested()),
                Err(error) => odd = Err(error),
            }
        });
        dumped.await.map_err(|source| Error::Read { what: what(), source })?;
        odd.map_err(|source| Error::Decode { what: what(), source })
    }

    /// The destinations of one service. The kernel reports none, and no error, for a service that is not there.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub async fn destinations(&mut self, id: &ServiceId) -> Result<Vec<ObservedDestination>, Error> {
        let mut destinations = Vec::new();
        self.each_destination(id, |destination| destinations.push(destination)).await?;
        Ok(destinations)
    }

    /// All services with their destinations, one service after the other.
    ///
    /// The kernel gives out destinations by service only, and no snapshot: a service that is removed meanwhile comes without
    /// destinations.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub async fn each(&mut self, mut each: impl FnMut(ObservedService, Vec<ObservedDestination>)) -> Result<(), Error> {
        for service in self.services().await? {
            let destinations = self.destinations(service.id()).await?;
            each(service, destinations);
        }
        Ok(())
    }

    /// The synchronisation daemons that run: none, a master, a backup or both.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub async fn daemons(&mut self) -> Result<Vec<Daemon>, Error> {
        let mut daemons = Vec::new();
        let what = || "the synchronisation daemons".into();
        self.list(Command::GetDaemon, Content::default(), what, |answer| {
            let attributes = answer.content.daemon.ok_or("an answer without a daemon")?;
            daemons.push(Daemon::try_from(attributes)?);
            Ok(())
        })
        .await?;
        Ok(daemons)
    }

    /// Asks for one message.
    async fn get(&mut self, command: Command, content: Content, what: impl Fn() -> String) -> Result<Message, Error> {
        let request = wrap(Message::new(command, content), self.family);
        let answer = self.socket.request(request).await;
        answer.map(|answer| answer.payload).map_err(|source| Error::Read { what: what(), source })
    }

    /// Asks for a list. An answer that is not understood is reported when all have been read.
    async fn list(
        &mut self,
        command: Command,
        content: Content,
        what: impl Fn() -> String,
        mut each: impl FnMut(Message) -> Result<(), DecodeError>,
    ) -> Result<(), Error> {
        let request = wrap(Message::new(command, content), self.family);
        let mut odd = Ok(());
        let dumped = self.socket.dump(request, |answer| {
            if let Err(error) = each(answer.payload) {
                odd = Err(error);
            }
        });
        dumped.await.map_err(|source| Error::Read { what: what(), source })?;
        odd.map_err(|source| Error::Decode { what: what(), source })
    }
}

/// A function of its own: a closure here would make futures that use it lose `Send` (rust-lang/rust#102211).
fn packed(requests: &[Request], family: u16) -> impl Iterator<Item = netlink::Request<GenlMessage<Message>>> {
    requests.iter().map(move |request| wrap(request.into(), family).into())
}

fn wrap(message: Message, family: u16) -> GenlMessage<Message> {
    let mut message = GenlMessage::from_payload(message);
    message.set_resolved_family_id(family);
    message
}

fn service_of(answer: Message) -> Result<ObservedService, DecodeError> {
    answer.content.service.ok_or("an answer without a service")?.try_into()
}
