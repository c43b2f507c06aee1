import CIPCShims
import Glibc
import SystemPackage

/// What a child is started with.
struct ProcessStart {
    let executable: String
    let arguments: [String]
    let environment: ChildProcess.Environment
    let descriptors: [CInt: FileDescriptor]
    let folder: FilePath?
    let group: ChildProcess.ProcessGroup
    let guardian: ProcessGuardian?

    /// Starts it.
    ///
    /// - Returns: The process, and a pidfd, which kernels before 5.2 do not give.
    func run() throws(IPCError) -> (process: pid_t, pidfd: CInt?) {
        try check()
        // In ascending order, as the C function needs them.
        let targets = descriptors.keys.sorted()
        let highest = max(2, targets.last ?? 2)
        // Copies above every target, so that no dup2 overwrites the source of a later one.
        var copies: [CInt] = []
        defer { for copy in copies { Glibc.close(copy) } }
        for target in targets {
            let source = descriptors[target]!.rawValue
            copies.append(
                try systemCall { ipc_fcntl_int(source, F_DUPFD_CLOEXEC, highest + 1) }
                    .orThrow("fcntl", "descriptor \(source)") { errno in
                        errno == .invalidArgument
                            ? "a child's descriptor \(highest) exceeds the limit of \(SystemLimits.openFiles); "
                                + "choose a lower number" : nil
                    })
        }
        var pidfd: CInt = -1
        var isFolder: CInt = 0
        switch systemCall({ start(copies, targets, &pidfd, &isFolder) }) {
        case .success(let process): return (process, pidfd >= 0 ? pidfd : nil)
        case .failure(let errno):
            throw IPCError(
                .childFailed, "start", isFolder != 0 ? folder!.string : executable, errno: errno,
                advice: advice(errno, isFolder != 0))
        }
    }

    private func start(_ sources: [CInt], _ targets: [CInt], _ pidfd: inout CInt, _ isFolder: inout CInt) -> pid_t {
        unsafe sources.withUnsafeBufferPointer { sources in
            unsafe targets.withUnsafeBufferPointer { targets in
                unsafe executable.withCString { program in
                    unsafe withCStrings([executable] + arguments) { argumentVector in
                        unsafe withEnvironment { environmentVector in
                            unsafe withOptional(folder) { folder in
                                var request = unsafe ipc_spawn(
                                    program: program, arguments: argumentVector,
                                    environment: environmentVector, folder: folder,
                                    sources: sources.baseAddress, targets: targets.baseAddress,
                                    count: CInt(sources.count), group: groupNumber,
                                    guardian: guardian?.descriptor ?? -1)
                                return unsafe ipc_spawn(&request, &pidfd, &isFolder)
                            }
                        }
                    }
                }
            }
        }
    }

    private func withEnvironment<Result>(
        _ body: (UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> Result
    ) -> Result {
        let names: [[UInt8]]
        switch environment {
        case .inherited: return unsafe body(ipc_environment())
        case .only: return unsafe withCStrings(environment.entries) { unsafe body($0) }
        case .changing(let variables): names = variables.keys.map { Array("\($0)=".utf8) }
        }
        // The rest as it is: not all of it need be text.
        let entries = environment.entries
        return unsafe withCStrings(entries) { changed in
            var all: [UnsafeMutablePointer<CChar>?] = unsafe []
            var next = unsafe ipc_environment()!
            while let entry = unsafe next.pointee {
                if !names.contains(where: { unsafe strncmp(entry, $0, $0.count) == 0 }) {
                    unsafe all.append(entry)
                }
                unsafe next += 1
            }
            unsafe all.append(contentsOf: UnsafeBufferPointer(start: changed, count: entries.count))
            unsafe all.append(nil)
            return unsafe all.withUnsafeMutableBufferPointer { unsafe body($0.baseAddress!) }
        }
    }

    private var groupNumber: pid_t {
        switch group {
        case .inherited: -1
        case .new: 0
        case .joining(let group): group
        }
    }

    private func check() throws(IPCError) {
        try folder?.check("start in")
        try environment.check(executable)
        let strings = [executable] + arguments + environment.entries
        if let wrong = strings.first(where: { $0.utf8.contains(0) }) {
            throw IPCError(
                .invalidArgument, "start", executable,
                advice: "\(wrong.debugDescription) has a zero byte, which would end it; remove that byte")
        }
        if let wrong = descriptors.keys.first(where: { $0 < 0 || $0 == .max }) {
            throw IPCError(
                .invalidArgument, "start", executable,
                advice: "a child cannot have a descriptor \(wrong); choose 0 or more"
            )
        }
        if case .joining(let group) = group, group <= 0 {
            throw IPCError(
                .invalidArgument, "start", executable,
                advice: "\(group) is not a process group; it must be greater than 0")
        }
    }

    private func advice(_ errno: Errno, _ isFolder: Bool) -> String {
        switch errno {
        case _ where isFolder: "it cannot start in this folder; choose another folder"
        case .noSuchFileOrDirectory: "there is no such program; give its path, or a name found in PATH"
        case .resourceTemporarilyUnavailable:
            "this user's limit on processes is reached; end some, or raise the limit (ulimit -u)"
        case .noSuchProcess, .notPermitted:
            "it cannot be run; a process group that it joins must be in this session"
        default: "it cannot be run"
        }
    }
}

/// Lends a null-terminated vector of C strings, as `argv` is.
private func withCStrings<Result>(
    _ strings: [String], _ body: (UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> Result
) -> Result {
    var pointers: [UnsafeMutablePointer<CChar>?] = unsafe strings.map { unsafe strdup($0) }
    unsafe pointers.append(nil)
    defer { unsafe pointers.forEach { unsafe free($0) } }
    return unsafe pointers.withUnsafeMutableBufferPointer { unsafe body($0.baseAddress!) }
}

private func withOptional<Result>(_ path: FilePath?, _ body: (UnsafePointer<CChar>?) -> Result) -> Result {
    guard let path else { return body(nil) }
    return unsafe path.withPlatformString { unsafe body($0) }
}
