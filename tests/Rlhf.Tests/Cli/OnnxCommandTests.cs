using Rlhf.Models;
using Rlhf.Tests.Export;
using Rlhf.Tokenizers;
using static TorchSharp.torch;

namespace Rlhf.Tests.Cli;

/// <summary>rlhf export --format onnx as a user types it.</summary>
public sealed class OnnxCommandTests(ToyModels toys) : IClassFixture<ToyModels>
{
    [Fact]
    public void AClassifierIsAFolderForOnnxRuntime()
    {
        string[] command = ["export", "--model", "classifier", "--format", "onnx", "--output", "onnx/classifier"];
        var said = toys.Succeed([.. command, "--json"]).Json;
        string folder = toys.PathOf("onnx", "classifier");
        Assert.Equal("float32", said.GetProperty("dtype").GetString());
        Assert.Equal(new FileInfo(Path.Combine(folder, "model.onnx")).Length, said.GetProperty("bytes").GetInt64());
        Assert.False(File.Exists(Path.Combine(folder, "genai_config.json")));
        var again = toys.Run(command);
        Assert.Equal(2, again.ExitCode);
        toys.Succeed([.. command, "--overwrite"]);

        // The folder has the tokenizer and the labels.
        var tokenizer = AutoTokenizer.FromPretrained(folder);
        using var scope = NewDisposeScope();
        using var noGrad = no_grad();
        using var model = AutoModelForSequenceClassification.FromPretrained(toys.PathOf("classifier"));
        Assert.Equal(model.Labels, AutoModelForSequenceClassification.Labels(folder));
        int[][] rows = [tokenizer.Encode("The film made me smile"), tokenizer.Encode("dull")];
        using var batch = PackedBatch.FromRows(rows);
        using var session = OnnxRuns.Open(folder);
        var (ids, mask) = OnnxRuns.Pad(rows, onTheLeft: false, filler: 0);
        var ours = model.Forward(batch).data<float>().ToArray();
        Assert.All(ours.Zip(OnnxRuns.Logits(session, ids, mask).Values), pair => Assert.Equal(pair.First, pair.Second, 1e-4));
    }

    [Fact]
    public void ALanguageModelIsAFolderForGenAi()
    {
        toys.Succeed("export", "--model", "policy", "--format", "onnx", "--dtype", "f16", "--output", "onnx-policy");
        string folder = toys.PathOf("onnx-policy");
        Assert.All(["model.onnx", "genai_config.json", "config.json", "tokenizer_config.json", "README.md"],
            name => Assert.True(File.Exists(Path.Combine(folder, name)), name));
        int[] prompt = AutoTokenizer.FromPretrained(folder).Encode("The film made me smile");
        var sequence = OnnxRuns.Generate(folder, [prompt], prompt.Length + 3)[0];
        Assert.Equal(prompt, sequence[..prompt.Length]);
    }

    [Theory]
    [InlineData("stores float32, float16", "--dtype=bfloat16")]
    [InlineData("means nothing for the format onnx", "--max-shard-size=5GB")]
    public void WhatCannotBeIsSaidInASentenceAndLeavesNothing(string why, string flag)
    {
        var result = toys.Run("export", "--model", "policy", "--format", "onnx", "--output", "nothing", flag);
        Assert.Equal(2, result.ExitCode);
        Assert.Contains(why, result.Error, StringComparison.Ordinal);
        Assert.False(Directory.Exists(toys.PathOf("nothing")));
    }
}
