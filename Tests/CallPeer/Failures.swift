import Glibc
import IPC
import SystemSupport
import TestSupport

/// Runs each call with each of its system calls failing in turn, and looks at what it leaves: nothing that was not there, and
/// objects that can be used. A signal that interrupts a system call (EINTR) is no failure.
enum Failures {
    static let rows =
        Deadlines.rows.flatMap(Operation.rows) + streamOperations + socketOperations + memoryOperations
        + systemOperations
        + channelOperations

    /// Public calls that throw, or wait, without a row; and rows without a call.
    static func check(_ calls: Set<PublicCall>) -> [String] {
        let covered = Set(rows.flatMap(\.calls))
        let needed = Set(calls.filter { $0.throwsErrors || $0.hasDeadline || $0.isTry }.map(\.name))
        return needed.subtracting(covered).subtracting(ofTraits).sorted().map { "without a row: \($0)" }
            + covered.subtracting(calls.map(\.name)).sorted().map { "without a call: \($0)" }
    }

    /// Calls of package traits, which this program is built without.
    private static let ofTraits: Set<String> = [
        "ChannelMetrics.record()", "ChannelMetrics.run(every:) async", "ChannelService.run() async",
        "Traced.withContext(_:)",
    ]

    /// What fails inside of a call of the C library that has done its work by then, and does not say so: `sem_open` looks at what
    /// it made by `fstat`, which cannot fail for an open file but by a rule of a security module.
    private static let excused = [
        "NamedSemaphore.create(_:value:permissions:)": ["newfstatat", "fstat"],
        "NamedSemaphore.openOrCreate(_:value:permissions:)": ["newfstatat", "fstat"],
    ]

    /// More would be a loop that polls.
    private static let maximumCalls = 400

    /// The calls of a row that fail in turn. A row with as many as there may be goes through all processes of the machine, to find who
    /// holds a lock: of that loop every seventh call fails, so each kind of call in it does many times.
    private static func indices(of count: Int) -> [Int] {
        let all = 0..<maximumCalls
        return count < maximumCalls ? Array(all) : all.filter { $0 < 60 || $0 % 7 == 0 }
    }

    /// - Parameter errors: How many errors each system call is tried with; the second is mostly EINTR.
    /// - Returns: What is wrong.
    static func run(_ row: Operation, errors: Int) -> [String] {
        var wrong: [String] = []
        do {
            // Until all that is made once is there.
            var (base, count) = try settled(row)
            // How many errors each call has.
            var known: [Int: Int] = [:]
            for error in 0..<errors {
                for index in indices(of: count) {
                    if error > 0, let errors = known[index], errors <= error { continue }
                    let (fault, found) = try once(row, index, error, &base)
                    if fault.call < 0 {
                        // What is made once, and kept, is no leak: a timer of Swift's thread pool, when it has much to do.
                        if !found.isEmpty { wrong += try once(row, index, error, &base).1.map { "\(row.name): \($0)" } }
                        break
                    }
                    if error == 0 { known[index] = Int(fault.errors) }
                    if found.isEmpty || excused[row.name]?.contains(name(fault.call)) == true { continue }
                    // What is made once, and kept, is no leak.
                    let (_, again) = try once(row, index, error, &base)
                    if again.isEmpty { continue }
                    let (_, third) = try once(row, index, error, &base)
                    wrong += third.map {
                        "\(row.name): call \(index), \(name(fault.call)), error \(fault.error): \($0)"
                    }
                }
            }
        } catch {
            wrong.append("\(row.name): \(error)")
        }
        return wrong
    }

    /// - Returns: What is there, and how many system calls the row makes.
    private static func settled(_ row: Operation) throws -> (ProcessState, count: Int) {
        var (base, count) = (ProcessState(), 0)
        for _ in 0..<3 { count = Int(try once(row, -1, 0, &base).0.count) }
        return (base, count)
    }

    /// Makes the objects, calls, and gives them up.
    private static func once(
        _ row: Operation, _ index: Int, _ error: Int, _ base: inout ProcessState
    ) throws -> (support_fault, [String]) {
        let thread = ObservedThread.shared
        let what = "\(row.name), call \(index), error number \(error),"
        GivenNames.begin()
        let made = Giveable<Attempt>()
        made.value = try row.make()
        let before = ProcessState()
        let masks = Box<(UInt64, UInt64)>((0, 0))
        let fault = Box(support_fault())
        let result = thread.run(what) {
            masks.value.0 = support_mask()
            support_faults_arm(CInt(index), CInt(error))
            defer {
                fault.value = support_faults_disarm()
                masks.value.1 = support_mask()
            }
            try made.value!.call()
        }
        var wrong: [String] = []
        if masks.value.0 != masks.value.1 { wrong.append("blocked signals \(masks.value)") }
        switch result {
        case .success:
            do { try made.value!.undo() } catch { wrong.append("undoing: \(error)") }
        case .failure(let error):
            if fault.value.error == 0 || fault.value.error == EINTR { wrong.append("it failed: \(error)") }
            // A wait that failed in its second round has made one.
            wrong += differences(from: before, keptPipes: 1).map { $0 + ", after \(error)" }
            do {
                try made.value!.makeReady()
                try thread.run(what) { try made.value!.again() }.get()
                if made.value!.isSameCall { try made.value!.undo() }
            } catch let second {
                wrong.append("and then: \(second), after \(error)")
            }
        }
        made.value?.end()
        made.give()
        // The row's own.
        for path in GivenNames.paths ?? [] { remove(path) }
        removeKeptChannels()
        let left = differences(from: base)
        wrong += left.map { "in the end \($0), result \(result)" }
        if !left.isEmpty { base = ProcessState() }
        return (fault.value, wrong)
    }

    /// What is not as it was, even after a while: threads end by and by.
    private static func differences(from before: ProcessState, keptPipes: Int = 0) -> [String] {
        let end = Deadline.after(.milliseconds(300))
        while true {
            let found = ProcessState().differences(from: before, keptPipes: keptPipes)
            if found.isEmpty || end.hasPassed { return found }
            usleep(2000)
        }
    }

    private static func name(_ call: CLong) -> String { String(cString: support_call_name(call)) }
}
