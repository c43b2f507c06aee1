import Glibc
import IPC
import IPCChannels
import SystemPackage
import TestSupport
import Testing

/// A channel that is removed at the moment at which a task begins to wait: nobody is woken by that then, and nobody will come.
@Suite(.timeLimit(.minutes(5))) struct RemovalDuringWaitTests {
    @Test func aTaskThatBeginsToWaitIsToldOfARemoval() async throws {
        for round in 0..<500 {
            let name = channelName()
            let topic = try Topic<UInt64>.openOrCreate(name, ChannelOptions(writers: .shared))
            let flag = Flag()
            let remover = try PlainThread { () throws(IPCError) in
                flag.wait()
                // Somewhere along the way into the wait.
                for _ in 0..<(round % 200) * 20 { sched_yield() }
                try Topic<UInt64>.remove(name)
            }
            var subscription = try topic.makeSubscription()
            flag.set()
            var code: IPCError.Code?
            do throws(IPCError) { _ = try await subscription.receive(until: .after(.seconds(10))) } catch {
                code = error.code
            }
            #expect(remover.join() == nil)
            guard code == .removed else {
                Issue.record("round \(round): \(String(describing: code))")
                return
            }
        }
    }
}
