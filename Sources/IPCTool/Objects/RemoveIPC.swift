import Glibc
import IPC

/// Whether systemd deletes this user's IPC objects when its last session ends (`RemoveIPC`, logind.conf(5)).
struct RemoveIPC {
    /// What its configuration says, or the default.
    let isOn: Bool
    /// Whether it concerns this user: logind runs, and the user is no system user and does not linger.
    let concernsUser: Bool

    /// - Parameter root: Where the file system begins; another one for tests.
    init(root: String = "", user: uid_t = getuid(), name: String? = nil) {
        var isOn = true
        for file in Self.files(root) { isOn = Self.setting(ProcFiles.lines(file)) ?? isOn }
        self.isOn = isOn
        let name = name ?? UserName.of(user)
        // Users below this number are those of services, whose objects are left alone.
        concernsUser =
            user >= 1000 && user != 65_534 && ProcFiles.status(root + "/run/systemd/users") != nil
            && ProcFiles.status(root + "/var/lib/systemd/linger/" + name) == nil
    }

    private static let folders = ["/etc/systemd", "/run/systemd", "/usr/local/lib/systemd", "/usr/lib/systemd"]

    /// In the order in which they are read: a later one has the last word.
    private static func files(_ root: String) -> [String] {
        var additions: [String: String] = [:]
        for folder in folders.reversed() {
            let path = root + folder + "/logind.conf.d"
            for name in ProcFiles.names(in: path) where name.hasSuffix(".conf") { additions[name] = path + "/" + name }
        }
        let main = folders.map { root + $0 + "/logind.conf" }.first { ProcFiles.status($0) != nil }
        return [main].compactMap { $0 } + additions.sorted { $0.key < $1.key }.map(\.value)
    }

    private static func setting(_ lines: [Substring]) -> Bool? {
        var value: Bool?
        for line in lines {
            let parts = line.split(separator: "=", maxSplits: 1).map { $0.filter { $0 != " " && $0 != "\t" } }
            guard parts.count == 2, parts[0] == "RemoveIPC" else { continue }
            value = !["no", "false", "off", "0", "n", "f"].contains(parts[1].lowercased())
        }
        return value
    }

    var finding: DoctorCommand.Finding {
        DoctorCommand.Finding(
            name: "RemoveIPC", value: concernsUser ? (isOn ? "yes" : "no") : "not for this user",
            meaning: "systemd deletes a user's channels, shared memory, semaphores and queues at the last logout",
            advice: concernsUser && isOn
                ? "set RemoveIPC=no in /etc/systemd/logind.conf and run systemctl restart systemd-logind; "
                    + "or run loginctl enable-linger; or use a system user"
                : nil)
    }
}
