using Rlhf.Data;
using Rlhf.Studio.Labeling;
using Rlhf.Tests;

namespace Rlhf.Studio.Tests.Labeling;

public sealed class PairSourcesTests : IDisposable
{
    private readonly Fixtures.TemporaryFolder folder = new();

    private string Runs => Path.Combine(folder.Path, "runs");

    public void Dispose() => folder.Dispose();

    [Fact]
    public void PairsInTheRunsFolderAreFoundAndNothingElse()
    {
        Write("runs/pairs.jsonl");
        Write("runs/data/more.jsonl");
        Write("runs/data/deep/deeper.jsonl");
        StudioServer.MakeRun(Runs, "first");
        Write("runs/first/samples.jsonl");
        File.WriteAllText(Path.Combine(Runs, "other.jsonl"), "{\"prompt\":\"x\",\"chosen\":\"a\"}\n");
        File.WriteAllText(Path.Combine(Runs, "broken.jsonl"), "{\"response_a\":");
        File.WriteAllText(Path.Combine(Runs, "empty.jsonl"), "");
        Assert.Equal(["pairs.jsonl", "data/more.jsonl"], new PairSources(new() { RunsFolder = Runs }).List().Select(s => s.Key));
    }

    [Fact]
    public void TheNamedOneIsFirstWithItsLabels()
    {
        Write("runs/pairs.jsonl");
        string named = Write("mine.jsonl");
        var sources = new PairSources(new() { RunsFolder = Runs, Pairs = named, Labels = Path.Combine(folder.Path, "l.jsonl") }).List();
        Assert.Equal([("", named, Path.Combine(folder.Path, "l.jsonl")),
            ("pairs.jsonl", Path.Combine(Runs, "pairs.jsonl"), Path.Combine(Runs, "pairs-labelled.jsonl"))],
            sources.Select(s => (s.Key, s.Pairs, s.Labels)));
        Assert.Equal(Path.Combine(folder.Path, "l.journal.jsonl"), sources[0].Journal);
    }

    [Fact]
    public void WhatLiesOutsideIsNotFound()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Links need rights on Windows.");
        string outside = Write("outside/pairs.jsonl");
        Directory.CreateDirectory(Runs);
        File.CreateSymbolicLink(Path.Combine(Runs, "link.jsonl"), outside);
        Directory.CreateSymbolicLink(Path.Combine(Runs, "linked"), Path.GetDirectoryName(outside)!);
        var sources = new PairSources(new() { RunsFolder = Runs });
        Assert.Empty(sources.List());
        Assert.Null(sources.Find("../outside/pairs.jsonl"));
        Assert.Null(sources.Find(outside));
    }

    [Fact]
    public void SettingsThatCannotBeAreRefused()
    {
        string pairs = Write("mine.jsonl");
        Assert.Empty(new StudioOptions { Pairs = pairs }.Validate());
        Assert.Contains("no file is", Assert.Single(new StudioOptions { Pairs = pairs + "x" }.Validate()), StringComparison.Ordinal);
        Assert.Contains("set that, too", Assert.Single(new StudioOptions { Labels = "l.jsonl" }.Validate()), StringComparison.Ordinal);
        Assert.Contains("same file", Assert.Single(new StudioOptions { Pairs = pairs, Labels = pairs }.Validate()),
            StringComparison.Ordinal);
        Assert.Contains("extension", Assert.Single(new StudioOptions { Pairs = pairs, Labels = "l.txt" }.Validate()),
            StringComparison.Ordinal);
        Assert.Contains("RepeatEvery is 2", Assert.Single(new StudioOptions { RepeatEvery = 2 }.Validate()), StringComparison.Ordinal);
    }

    private string Write(string name)
    {
        string path = Path.Combine(folder.Path, name);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        PairFile.Save(path, [new ResponsePair("p", "Prompt", " a", " b")]);
        return path;
    }
}
