using System.Diagnostics;
using System.Diagnostics.CodeAnalysis;

namespace Rlhf.Tests.Cli;

/// <summary>A file system of a few megabytes that fills up, where tests may mount one.</summary>
internal sealed class SmallDisk : IDisposable
{
    private readonly Fixtures.TemporaryFolder folder;

    private SmallDisk(Fixtures.TemporaryFolder folder) => this.folder = folder;

    public string Path => folder.Path;

    public static bool TryMount([NotNullWhen(true)] out SmallDisk? disk, int megabytes)
    {
        var folder = new Fixtures.TemporaryFolder();
        disk = OperatingSystem.IsLinux() && Run("mount", "-t", "tmpfs", "-o", $"size={megabytes}m", "tmpfs", folder.Path)
            ? new(folder) : null;
        if (disk is null)
            folder.Dispose();
        return disk is not null;
    }

    public void Dispose()
    {
        Run("umount", "-l", Path);
        folder.Dispose();
    }

    private static bool Run(string command, params string[] arguments)
    {
        try
        {
            using var process = Process.Start(new ProcessStartInfo(command, arguments) { RedirectStandardError = true })!;
            process.WaitForExit();
            return process.ExitCode == 0;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return false;
        }
    }
}
