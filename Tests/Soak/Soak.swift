// Queues and services for hours, among cancellations, deaths, stops and deadlines that pass; each participant notes what it does, and
// the notes have to agree.
//
//     Soak (--hours H | --seconds S) [--seed N] [--rounds COUNT]
//     Soak participant LEDGER SEED INDEX ROLE ROUND BLOCKING        started by the first form; ROUND is -1 for one that stays
import CIPCShims
import Glibc
import IPC

@main
struct Soak {
    static func main() {
        let arguments = Array(CommandLine.arguments.dropFirst())
        if arguments.first == "participant" { return participate(Array(arguments.dropFirst())) }
        guard let options = Options(arguments) else {
            fail("usage: Soak (--hours H | --seconds S) [--seed N] [--rounds COUNT]", code: 2)
        }
        do throws(IPCError) {
            exit(try Conductor(options).run() ? 0 : 1)
        } catch {
            fail("\(error)", code: 1)
        }
    }

    private static func fail(_ text: String, code: CInt) -> Never {
        say(text)
        exit(code)
    }

    private static func participate(_ arguments: [String]) {
        _ = ipc_die_with_parent()
        guard let order = Order(arguments) else { fail("participant: \(arguments) is no order", code: 2) }
        // On a task, so that it may wait in every way; this thread has nothing more to do.
        Task.detached {
            do {
                try await Participant(order, Ledger(opening: order.ledger)).run()
                exit(0)
            } catch {
                fail("violation \(order.role) \(order.index): \(error)", code: 1)
            }
        }
        while true { pause() }
    }
}

/// Writes a line to standard error, whole: of a participant, the conductor counts it.
func say(_ text: String) {
    var line = text.split(separator: "\n").joined(separator: " ") + "\n"
    _ = line.withUTF8 { write(2, $0.baseAddress, $0.count) }
}

/// Prints a line at once, also into a pipe.
func tell(_ text: String) {
    print(text)
    fflush(nil)
}

/// What the command line asks for.
struct Options {
    var seconds = 12.0
    var seed = UInt64.random(in: 1...UInt64(UInt32.max))
    var rounds = Int.max

    init?(_ arguments: [String]) {
        var rest = arguments[...]
        while let name = rest.popFirst() {
            guard let value = rest.popFirst() else { return nil }
            switch name {
            case "--hours":
                guard let hours = Double(value), hours > 0, hours < 10_000 else { return nil }
                seconds = hours * 3600
            case "--seconds":
                guard let seconds = Double(value), seconds > 0, seconds < 36_000_000 else { return nil }
                self.seconds = seconds
            case "--seed":
                guard let seed = UInt64(value) else { return nil }
                self.seed = seed
            case "--rounds":
                guard let rounds = Int(value), rounds > 0 else { return nil }
                self.rounds = rounds
            default: return nil
            }
        }
    }
}
