import Foundation
import IPC
import TestSupport

/// Compiles programs with the modules of this build.
enum SwiftCompiler {
    static let repository = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().path

    /// - Parameter sources: The text of each file, by its name.
    static func compile(
        _ sources: [String: String], _ options: [String]
    ) throws -> (status: IPC.ExitStatus, messages: String) {
        let folder = "/tmp/\(uniqueName())"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        // The modules of this build, and the maps of the C ones.
        var arguments = options + ["-swift-version", "6", "-I", productsFolder + "/Modules"]
        for (name, text) in sources {
            let path = "\(folder)/\(name).swift"
            try text.write(toFile: path, atomically: true, encoding: .utf8)
            arguments.append(path)
        }
        for map in ["\(repository)/Sources/CIPCShims/include", "\(productsFolder)/CIPCShims.build"]
        where FileManager.default.fileExists(atPath: map + "/module.modulemap") {
            arguments += ["-Xcc", "-fmodule-map-file=\(map)/module.modulemap"]
        }
        let checkouts = URL(filePath: productsFolder).deletingLastPathComponent().deletingLastPathComponent()
            .appending(path: "checkouts")
        let system = "\(checkouts.path)/swift-system/Sources/CSystem/include"
        arguments += ["-Xcc", "-fmodule-map-file=\(system)/module.modulemap"]
        let errors = try AnonymousPipe(capacity: 1 << 20)
        let compiler = try Peer("swiftc", arguments, descriptors: [2: errors.writer.descriptor])
        let (status, _) = try compiler.finish(within: .seconds(120))
        let messages = String(
            decoding: try errors.closingWriter().readToEnd(until: .after(.seconds(10))), as: UTF8.self)
        return (status, messages)
    }

    /// Builds a program that uses the library.
    ///
    /// - Parameters:
    ///   - text: Its only file.
    ///   - path: Where it goes.
    ///   - options: Such as `["-D", "NEW"]`.
    static func build(
        _ text: String, to path: String, _ options: [String] = []
    ) throws -> (status: IPC.ExitStatus, messages: String) {
        // What an example is linked of: in the folders are also objects of files that are no more.
        let list = "\(productsFolder)/Topics.product/Objects.LinkFileList"
        let modules = ["CIPCShims", "CSystem", "IPC", "IPCChannels", "SystemPackage"]
        let objects = try String(contentsOfFile: list, encoding: .utf8).split(separator: "\n")
            .map { $0.trimmingCharacters(in: CharacterSet(charactersIn: "'\"")) }
            .filter { path in modules.contains { path.contains("/\($0).build/") } }
        return try compile(["main": text], options + objects + ["-o", path])
    }
}
