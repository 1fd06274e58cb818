using Rlhf.Studio.Files;
using Rlhf.Tests;

namespace Rlhf.Studio.Tests;

public sealed class FolderGuardTests : IDisposable
{
    private readonly Fixtures.TemporaryFolder folder = new();
    private readonly string runs, outside;
    private readonly FolderGuard guard;

    public FolderGuardTests()
    {
        runs = Directory.CreateDirectory(Path.Combine(folder.Path, "runs")).FullName;
        outside = Directory.CreateDirectory(Path.Combine(folder.Path, "runs-of-others")).FullName;
        Directory.CreateDirectory(Path.Combine(runs, "a", "b"));
        File.WriteAllText(Path.Combine(runs, "a", "file"), "inside");
        File.WriteAllText(Path.Combine(outside, "secret"), "outside");
        guard = new(runs);
    }

    [Theory]
    [InlineData("", "")]
    [InlineData("a", "a")]
    [InlineData("a/file", "a/file")]
    [InlineData("a/b/../file", "a/file")]
    [InlineData("./a//b", "a/b")]
    public void WhatLiesInsideIsFound(string relative, string expected) =>
        Assert.Equal(Path.TrimEndingDirectorySeparator(Path.Combine(FolderGuard.RealPath(runs)!, expected)), guard.Resolve(relative));

    [Theory]
    [InlineData("..")]
    [InlineData("../runs-of-others/secret")]
    [InlineData("a/../../runs-of-others/secret")]
    [InlineData("/etc/passwd")]
    [InlineData("a/file\0")]
    [InlineData("missing")]
    public void WhatLiesOutsideOrNowhereIsNot(string relative) => Assert.Null(guard.Resolve(relative));

    [Fact]
    public void LinksCountByWhereTheyLead()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Links need rights on Windows.");
        File.CreateSymbolicLink(Path.Combine(runs, "to-inside"), "a/file");
        File.CreateSymbolicLink(Path.Combine(runs, "to-outside"), Path.Combine(outside, "secret"));
        Directory.CreateSymbolicLink(Path.Combine(runs, "folder-outside"), "../runs-of-others");
        Directory.CreateSymbolicLink(Path.Combine(runs, "a", "up"), "..");
        File.CreateSymbolicLink(Path.Combine(runs, "around"), "around");

        Assert.Equal(guard.Resolve("a/file"), guard.Resolve("to-inside"));
        Assert.Equal(guard.Resolve("a/file"), guard.Resolve("a/up/a/up/a/file"));
        Assert.Null(guard.Resolve("to-outside"));
        Assert.Null(guard.Resolve("folder-outside/secret"));
        Assert.Null(guard.Resolve("around"));
    }

    [Fact]
    public void TheFolderItselfMayBeALinkAndMayComeLater()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Links need rights on Windows.");
        var later = new FolderGuard(Path.Combine(folder.Path, "link"));
        Assert.Null(later.Resolve("a"));
        Directory.CreateSymbolicLink(Path.Combine(folder.Path, "link"), runs);
        Assert.Equal(guard.Resolve("a"), later.Resolve("a"));
    }

    public void Dispose() => folder.Dispose();
}
