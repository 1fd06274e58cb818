using Rlhf.Cli.Settings;
using Rlhf.Data;
using Rlhf.Evaluation;
using Rlhf.Models.Gpt2;
using Rlhf.Reporting;
using Rlhf.Runs;
using Rlhf.Runtime;
using Rlhf.Runtime.Files;
using Rlhf.Tokenizers;
using Rlhf.Tracking.Wandb;
using Rlhf.Training.Checkpoints;
using Rlhf.Weights;

namespace Rlhf.Tests.Fuzzing;

/// <summary>
/// A cloned repository or an unpacked archive may hold pipes, sockets and links to devices in place of files. Opening a pipe waits
/// for a writer for ever, and a device claims no length and never ends.
/// </summary>
public sealed class SpecialFileTests : IDisposable
{
    private readonly Fixtures.TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    private static readonly string[] Kinds = ["pipe", "link to a pipe", "socket", "device"];

    private static readonly string[] Names =
    [
        "config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt", "vocab.json", "merges.txt",
        "model.safetensors", "pytorch_model.bin", "legacy.bin", "model.safetensors.index.json", "t.parquet", "t.csv", "t.tsv", "t.jsonl",
        "t.txt", "t.tar", "t.tar.gz", "1_9.txt", "preferences.jsonl", "pairs.jsonl", "run.yaml", "evaluation.json", "metrics.jsonl",
        "config.yaml", "run.wandb", "state.json",
    ];

    public static TheoryData<string, string> Places()
    {
        var places = new TheoryData<string, string>();
        foreach (var name in Names)
            foreach (var kind in Kinds)
                places.Add(name, kind);
        return places;
    }

    private Action Reader(string name, string path)
    {
        var at = folder.Path;
        switch (name)
        {
            case "config.json": return () => Gpt2Config.Load(at);
            case "tokenizer_config.json" or "special_tokens_map.json":
                File.WriteAllText(Path.Combine(at, "vocab.txt"), "[UNK]\na\n");
                return () => AutoTokenizer.FromPretrained(at);
            case "tokenizer.json" or "vocab.txt": return () => AutoTokenizer.FromPretrained(at);
            case "vocab.json":
                File.WriteAllText(Path.Combine(at, "merges.txt"), "");
                return () => AutoTokenizer.FromPretrained(at);
            case "merges.txt":
                File.WriteAllText(Path.Combine(at, "vocab.json"), "{\"a\":0}");
                return () => AutoTokenizer.FromPretrained(at);
            case "model.safetensors" or "pytorch_model.bin" or "model.safetensors.index.json": return () => WeightFiles.OpenFile(path);
            case "legacy.bin": return () => PyTorchBin.Open(path);
            case "1_9.txt": return () => ReviewDataset.Load(at);
            case "preferences.jsonl": return () => PreferenceDataset.Load(path);
            case "pairs.jsonl": return () => PairFile.Load(path);
            case "run.yaml": return () => YamlSettingsFile.Read(path);
            case "evaluation.json": return () => EvaluationFile.Load(at);
            case "metrics.jsonl" or "config.yaml": return () => RunData.Load(at);
            case "run.wandb": return () => _ = WandbLog.Read(path).Count();
            case "state.json": return () => CheckpointJson.Read<string>(path, 1 << 20);
            default: return () => ReviewDataset.Load(path, new() { MaxTextLength = 1 << 20 });
        }
    }

    [Theory]
    [MemberData(nameof(Places))]
    public async Task WhatIsNoRegularFileIsRefusedAtOnce(string name, string kind)
    {
        var at = name == "1_9.txt" ? Directory.CreateDirectory(Path.Combine(folder.Path, "train", "pos")).FullName : folder.Path;
        var path = Path.Combine(at, name);
        if (name is "metrics.jsonl" or "config.yaml")
            File.WriteAllText(Path.Combine(at, name == "config.yaml" ? "metrics.jsonl" : "config.yaml"), "");
        SpecialFiles.Make(path, kind);
        var error = await SpecialFiles.Within(path, Reader(name, path));
        Assert.True(error is IOException or ConfigurationException, $"{error}");
        Assert.Contains(path, error.Message);
        Assert.Contains(kind == "device" ? "is a device" : kind == "socket" ? "is a socket" : "is a named pipe", error.Message);
    }

    [Fact]
    public void LinksToRegularFilesAreFollowed()
    {
        var file = Path.Combine(folder.Path, "blob");
        File.WriteAllText(file, "{\"text\":\"a\"}\n");
        var link = Path.Combine(folder.Path, "t.jsonl");
        File.CreateSymbolicLink(link, "second");
        File.CreateSymbolicLink(Path.Combine(folder.Path, "second"), file);
        Assert.Equal("a", Assert.Single(ReviewDataset.Load(link)).Text);
        Assert.True(RegularFile.Exists(link));
        Assert.False(RegularFile.Exists(folder.Path));
        Assert.False(RegularFile.Exists(Path.Combine(folder.Path, "none")));
        RegularFile.Require(Path.Combine(folder.Path, "none"));
    }

    /// <summary>What a shell makes of &lt;(command): this process has the pipe already.</summary>
    [Fact]
    public async Task PipesThatTheUserHandsOverAreRead()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "The descriptor is found in Linux's way.");
        using var server = new System.IO.Pipes.AnonymousPipeServerStream(System.IO.Pipes.PipeDirection.Out);
        var path = $"/dev/fd/{server.ClientSafePipeHandle.DangerousGetHandle()}";
        server.Write("seed: 7\n"u8);
        var error = await SpecialFiles.Within(path, () =>
        {
            using var stream = RegularFile.OpenOrPiped(path);
            server.DisposeLocalCopyOfClientHandle();
            server.Dispose();
            Assert.Equal("seed: 7\n", new StreamReader(stream).ReadToEnd());
        });
        Assert.Null(error);
        Assert.Throws<IOException>(() =>
        {
            SpecialFiles.Make(Path.Combine(folder.Path, "pipe"), "pipe");
            RegularFile.OpenOrPiped(Path.Combine(folder.Path, "pipe"));
        });
    }
}
