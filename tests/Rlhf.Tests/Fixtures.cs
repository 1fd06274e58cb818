using System.Runtime.CompilerServices;

namespace Rlhf.Tests;

/// <summary>Finds reference data; a test that needs absent data skips and says which.</summary>
public static class Fixtures
{
    /// <summary>tests/fixtures, or the folder that RLHF_FIXTURES names.</summary>
    public static string Root { get; } = Environment.GetEnvironmentVariable("RLHF_FIXTURES") is { Length: > 0 } folder
        ? System.IO.Path.GetFullPath(folder) : System.IO.Path.Combine(Repository(), "tests", "fixtures");

    /// <summary>The checkout's root folder.</summary>
    public static string Repository([CallerFilePath] string here = "")
    {
        foreach (var start in new[] { AppContext.BaseDirectory, System.IO.Path.GetDirectoryName(here)! })
            for (var folder = start; folder is not null; folder = System.IO.Path.GetDirectoryName(folder))
                if (File.Exists(System.IO.Path.Combine(folder, "Rlhf.slnx")))
                    return folder;
        throw new DirectoryNotFoundException("The checkout's root folder was not found.");
    }

    /// <summary>A file or folder of the fixtures; skips the test when it is not there.</summary>
    public static string Path(params string[] parts)
    {
        var path = System.IO.Path.Combine([Root, .. parts]);
        Assert.SkipUnless(File.Exists(path) || Directory.Exists(path), $"Fixture {string.Join('/', parts)} is not in {Root}.");
        return path;
    }

    /// <summary>The shared data: the folder that RLHF_SHARED names, or ../shared beside the checkout.</summary>
    public static string SharedRoot { get; } = System.IO.Path.GetFullPath(
        Environment.GetEnvironmentVariable("RLHF_SHARED") is { Length: > 0 } folder
            ? folder : System.IO.Path.Combine(Repository(), "..", "shared"));

    /// <summary>A file or folder of the shared data; skips the test when it is not there.</summary>
    public static string Shared(params string[] parts)
    {
        var path = System.IO.Path.Combine([SharedRoot, .. parts]);
        Assert.SkipUnless(File.Exists(path) || Directory.Exists(path),
            $"{string.Join('/', parts)} is not in the shared data; set RLHF_SHARED to the folder that holds it.");
        return path;
    }

    /// <summary>An empty folder that is deleted with the object.</summary>
    public sealed class TemporaryFolder : IDisposable
    {
        /// <summary>Its path.</summary>
        public string Path { get; } = Directory.CreateTempSubdirectory("rlhf-test-").FullName;

        /// <inheritdoc/>
        public void Dispose() => Directory.Delete(Path, recursive: true);
    }
}
