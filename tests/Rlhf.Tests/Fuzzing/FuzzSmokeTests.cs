using Rlhf.Fuzz;

namespace Rlhf.Tests.Fuzzing;

/// <summary>
/// The readers of foreign files under a few thousand damaged inputs, always the same ones, and under every input that once broke
/// one. docs/reliability.md says how to fuzz for longer, guided by coverage.
/// </summary>
public sealed class FuzzSmokeTests
{
    private const int InputsPerTarget = 250;

    public static TheoryData<string> Targets()
    {
        using var scratch = new Scratch();
        return [.. AllTargets.Make(scratch).Select(target => target.Name)];
    }

    [Theory]
    [MemberData(nameof(Targets))]
    public void ReadOrRefused(string name)
    {
        using var scratch = new Scratch();
        var target = AllTargets.Make(scratch).Single(t => t.Name == name);
        var broke = Path.Combine(Fixtures.Root, "fuzz", name);
        foreach (var file in Directory.Exists(broke) ? Directory.GetFiles(broke) : [])
            Assert.True(target.Try(File.ReadAllBytes(file)) is not { } error, $"{file}: {target.Try(File.ReadAllBytes(file))}");

        var result = new FuzzRun(target, new(InputsPerTarget, double.MaxValue, Seed: 1, Folder: null), new Coverage()).Run();
        Assert.Empty(result.Findings.Select(f => f.Error.ToString()));
    }

    [Theory]
    [MemberData(nameof(Targets))]
    public void SeedsAreValid(string name)
    {
        using var scratch = new Scratch();
        var target = AllTargets.Make(scratch).Single(t => t.Name == name);
        Assert.Contains(target.Seeds, seed => Record.Exception(() => target.Read(seed)) is null);
    }

    [Fact]
    public void TheSameSeedMakesTheSameInputs()
    {
        byte[][] Inputs(int seed)
        {
            var mutator = new Mutator(new Random(seed), [[1, 2, 3]], 64);
            return [.. Enumerable.Range(0, 100).Select(_ => mutator.Mutate([0, 1, 2, 3, (byte)'7'], [9, 9]))];
        }
        Assert.Equal(Inputs(1), Inputs(1));
        Assert.NotEqual(Inputs(1), Inputs(2));
    }

    [Fact]
    public void WhatAReaderMayNotDoIsFound()
    {
        FuzzTarget Target(Action<byte[]> read) => new("x", read, [[1]], [], typeof(InvalidDataException));
        Assert.IsType<IndexOutOfRangeException>(Target(_ => throw new IndexOutOfRangeException()).Try([]));
        Assert.Null(Target(_ => throw new InvalidDataException($"{FuzzTarget.FileName}, byte 1: bad.")).Try([]));
        foreach (var message in new[] { "bad", $"{FuzzTarget.FileName} \u001b[31m", FuzzTarget.FileName + new string('x', 2000) })
            Assert.IsType<WrongResultException>(Target(_ => throw new InvalidDataException(message)).Try([]));
        Assert.IsType<WrongResultException>(
            (Target(_ => GC.KeepAlive(new byte[2 << 20])) with { MaxAllocated = 1 << 20 }).Try([]));
    }
}
