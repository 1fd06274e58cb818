using Rlhf.Runtime.Files;

namespace Rlhf.Tests.Runtime;

public sealed class AtomicFileTests
{
    [Fact]
    public void TextIsUtf8WithoutByteOrderMark()
    {
        using var folder = new Fixtures.TemporaryFolder();
        string path = Path.Combine(folder.Path, "a.txt");
        AtomicFile.WriteAllText(path, "é\n");
        Assert.Equal([0xc3, 0xa9, 0x0a], File.ReadAllBytes(path));
    }

    [Fact]
    public void AFailureLeavesTheOldFileAndNoOther()
    {
        using var folder = new Fixtures.TemporaryFolder();
        string path = Path.Combine(folder.Path, "a.txt");
        AtomicFile.WriteAllText(path, "old");
        Assert.Throws<InvalidDataException>(() => AtomicFile.Write(path, stream =>
        {
            stream.WriteByte(1);
            throw new InvalidDataException("midway");
        }));
        Assert.Equal([path], Directory.GetFiles(folder.Path));
        Assert.Equal("old", File.ReadAllText(path));
    }

    [Theory]
    [InlineData("config.yaml")]
    [InlineData(".lock-owner")]
    public void WhatAKilledProcessLeavesIsToldFromOtherFiles(string name)
    {
        using var folder = new Fixtures.TemporaryFolder();
        AtomicFile.Write(Path.Combine(folder.Path, name), stream =>
            Assert.True(AtomicFile.IsUnfinished(Path.GetFileName(Assert.Single(Directory.GetFiles(folder.Path))))));
        Assert.All((string[])[name, name + ".tmp", "." + name + ".tmp", "notes.a.b.c.tmp"], other => Assert.False(AtomicFile.IsUnfinished(other)));
    }
}
