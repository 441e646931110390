//! Takes a member out of its group from outside, as the end of its session does: a LeaveGroup
//! request (protocol guide, api key 13, version 0) in its name.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};

const LEAVE_GROUP: i16 = 13;

pub(crate) fn remove_member(bootstrap: &str, config: &ClientConfig, group: &str, client_id: &str) {
    let consumer: BaseConsumer = config.create().unwrap();
    let groups = consumer.fetch_group_list(Some(group), super::LIMIT).unwrap();
    let members = groups.groups().iter().flat_map(|group| group.members());
    let mut ids = members.filter(|member| member.client_id() == client_id);
    let id = ids.next().expect("the member is in its group").id().to_owned();
    let error = leave(bootstrap, group, &id);
    assert_eq!(error, 0, "LeaveGroup of {id}");
}

fn leave(bootstrap: &str, group: &str, member: &str) -> i16 {
    let mut request = Vec::new();
    request.extend(LEAVE_GROUP.to_be_bytes());
    request.extend(0_i16.to_be_bytes());
    request.extend(1_i32.to_be_bytes());
    for string in ["test", group, member] {
        request.extend((string.len() as i16).to_be_bytes());
        request.extend(string.as_bytes());
    }
    let mut stream = TcpStream::connect(bootstrap).unwrap();
    stream.set_read_timeout(Some(super::LIMIT)).unwrap();
    stream.write_all(&(request.len() as i32).to_be_bytes()).unwrap();
    stream.write_all(&request).unwrap();
    let mut response = [0; 10];
    stream.read_exact(&mut response).unwrap();
    i16::from_be_bytes([response[8], response[9]])
}
