using System.Runtime.InteropServices;

namespace Rlhf.Runtime.Native;

/// <summary>Where a program's native libraries lie.</summary>
internal static class NativeFiles
{
    /// <summary>
    /// The platform of this process as packages name it, such as linux-x64. RuntimeInformation.RuntimeIdentifier is not that:
    /// where a distribution builds .NET itself, it names the distribution.
    /// </summary>
    public static string Platform => (OperatingSystem.IsWindows() ? "win" : OperatingSystem.IsMacOS() ? "osx" : "linux") +
        (RuntimeInformation.RuntimeIdentifier is var rid && (rid.Contains("musl") || rid.Contains("alpine")) ? "-musl-" : "-") +
        RuntimeInformation.ProcessArchitecture.ToString().ToLowerInvariant();

    /// <summary>
    /// A native file in one of these folders, in the runtimes folder there, or where the host looks for native libraries.
    /// </summary>
    public static string? Find(string name, params IEnumerable<string?> folders)
    {
        var platform = Path.Combine("runtimes", Platform, "native");
        var probing = (AppContext.GetData("NATIVE_DLL_SEARCH_DIRECTORIES") as string ?? "")
            .Split(Path.PathSeparator, StringSplitOptions.RemoveEmptyEntries);
        return folders.OfType<string>()
            .SelectMany(folder => (string[])[folder, Path.Combine(folder, platform)])
            .Concat(probing).Select(folder => Path.Combine(folder, name)).FirstOrDefault(File.Exists);
    }
}
