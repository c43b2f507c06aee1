import IPC
import IPCChannels

/// Finds out what became of the jobs that a worker was about to acknowledge when it ended.
enum Settling {
    /// One that left in order has finished all it had: what its loop was to acknowledge is acknowledged.
    static func left(_ member: Int, _ ledger: Ledger) {
        for job in unsure(of: member, ledger) { ledger.add(job, .acknowledged) }
    }

    /// What a killed one has acknowledged is in the queue no more, and what it has not is there still: all others stand still, and have
    /// taken nothing back. So who gets a job that was acknowledged is found, though its worker could not note it.
    ///
    /// - Returns: How many were acknowledged, and not noted.
    static func killed(_ member: Int, _ ledger: Ledger) throws(IPCError) -> Int {
        var count = 0
        for queue in Queue.allCases where queue.isStrict {
            let jobs = unsure(of: member, ledger).filter { job in
                ledger[job, .queue] == UInt64(queue.rawValue) && !JobChecks.mayBeLetter(job, queue, ledger)
            }
            guard !jobs.isEmpty else { continue }
            // One that could not be stopped in time may set it aside meanwhile, and one look would miss it.
            let there = try Set(items(queue) + items(queue))
            for job in jobs {
                // Such a one has it, or had it, by now.
                guard ledger[job, .holder] == UInt64(member + 1) else { continue }
                if there.contains(job) {
                    ledger.takeBack(job, .acknowledging)
                } else if !JobChecks.mayBeLetter(job, queue, ledger) {
                    ledger.add(job, .acknowledged)
                    count += 1
                }
            }
        }
        return count
    }

    private static func unsure(of member: Int, _ ledger: Ledger) -> [Item] {
        ledger.jobs.filter {
            ledger[$0, .holder] == UInt64(member + 1) && ledger[$0, .acknowledging] > ledger[$0, .acknowledged]
        }
    }

    private static func items(_ queue: Queue) throws(IPCError) -> [Item] {
        try queue.open().browse().compactMap { Ticket($0.bytes.span.bytes)?.item }
    }
}
