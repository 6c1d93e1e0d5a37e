//! TaskManagers: `/taskmanagers` and `/taskmanagers/ID`.

use serde_json::{Value, json};

use super::view::TaskManagerView;

fn mebibytes(bytes: u64) -> u64 {
    bytes >> 20
}

/// What `slots` of a TaskManager's slots have.
fn resource(member: &TaskManagerView, slots: u32) -> Value {
    let part = |bytes: u64| mebibytes(bytes / u64::from(member.slots.max(1)) * u64::from(slots));
    let own = member.process.memory_limit.saturating_sub(member.managed_bytes);
    json!({
        "cpuCores": f64::from(slots),
        "taskHeapMemory": part(own),
        "taskOffHeapMemory": 0,
        "managedMemory": part(member.managed_bytes),
        "networkMemory": 0,
        "extendedResources": {},
    })
}

fn common(member: &TaskManagerView) -> Value {
    let process = member.process;
    let own = process.memory_limit.saturating_sub(member.managed_bytes);
    json!({
        "id": member.id.to_string(),
        "path": member.address,
        "dataPort": member.port(),
        "jmxPort": -1,
        "timeSinceLastHeartbeat": member.heard_millis,
        "slotsNumber": member.slots,
        "freeSlots": member.free_slots(),
        "totalResource": resource(member, member.slots),
        "freeResource": resource(member, member.free_slots()),
        "hardware": {
            "cpuCores": process.cores,
            "physicalMemory": process.machine_memory,
            "freeMemory": process.machine_free,
            "managedMemory": member.managed_bytes,
        },
        "memoryConfiguration": {
            "frameworkHeap": 0,
            "taskHeap": own,
            "frameworkOffHeap": 0,
            "taskOffHeap": 0,
            "networkMemory": 0,
            "managedMemory": member.managed_bytes,
            "jvmMetaspace": 0,
            "jvmOverhead": 0,
            "totalFlinkMemory": process.memory_limit,
            "totalProcessMemory": process.memory_limit,
        },
        "blocked": false,
    })
}

/// `/taskmanagers`
pub(super) fn list(members: &[TaskManagerView]) -> Value {
    json!({ "taskmanagers": members.iter().map(common).collect::<Vec<_>>() })
}

/// `/taskmanagers/ID`
pub(super) fn details(member: &TaskManagerView) -> Value {
    let slots = member.taken.iter().flat_map(|(job, slots)| {
        (0..*slots).map(move |_| json!({ "jobId": job.to_string(), "resource": resource(member, 1) }))
    });
    let process = member.process;
    let mut value = common(member);
    if let Some(object) = value.as_object_mut() {
        object.insert("allocatedSlots".to_owned(), slots.collect());
        let metrics = json!({
            "heapUsed": process.memory_used,
            "heapCommitted": process.memory_used,
            "heapMax": process.memory_limit,
            "nonHeapUsed": 0,
            "nonHeapCommitted": 0,
            "nonHeapMax": 0,
            "directCount": 0,
            "directUsed": 0,
            "directMax": 0,
            "mappedCount": 0,
            "mappedUsed": 0,
            "mappedMax": 0,
            "memorySegmentsAvailable": 0,
            "memorySegmentsTotal": 0,
            "nettyShuffleMemorySegmentsAvailable": 0,
            "nettyShuffleMemorySegmentsUsed": 0,
            "nettyShuffleMemorySegmentsTotal": 0,
            "nettyShuffleMemoryAvailable": 0,
            "nettyShuffleMemoryUsed": 0,
            "nettyShuffleMemoryTotal": 0,
            "garbageCollectors": [],
        });
        object.insert("metrics".to_owned(), metrics);
    }
    value
}
