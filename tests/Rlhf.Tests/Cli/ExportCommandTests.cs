using Rlhf.LlamaCpp;
using Rlhf.Models;
using Rlhf.Tests.Export;
using Rlhf.Tokenizers;
using Rlhf.Weights;

namespace Rlhf.Tests.Cli;

/// <summary>rlhf export as a user types it.</summary>
public sealed class ExportCommandTests(ToyModels toys) : IClassFixture<ToyModels>
{
    [Fact]
    public void GgufIsOneFileThatIsNotWrittenOver()
    {
        string[] command = ["export", "--model", "policy", "--format", "gguf", "--dtype", "f32", "--output", "gguf/toy.gguf"];
        var said = toys.Succeed([.. command, "--json"]).Json;
        Assert.Equal("gpt2", said.GetProperty("architecture").GetString());
        Assert.Equal("f32", said.GetProperty("dtype").GetString());
        string file = toys.PathOf("gguf", "toy.gguf");
        Assert.Equal(new FileInfo(file).Length, said.GetProperty("bytes").GetInt64());
        Assert.Equal([file], Directory.GetFiles(toys.PathOf("gguf")));

        var again = toys.Run(command);
        Assert.Equal(2, again.ExitCode);
        Assert.Contains("already exists", again.Error, StringComparison.Ordinal);
        toys.Succeed([.. command, "--overwrite"]);

        var answers = Llama.Ask(new(file) { Texts = ["The film made me smile", "shone\n\n  12"] });
        var tokenizer = AutoTokenizer.FromPretrained(toys.PathOf("policy"));
        Assert.Equal(answers.Tokens, [tokenizer.Encode("The film made me smile"), tokenizer.Encode("shone\n\n  12")]);
    }

    [Fact]
    public void AFolderGetsAFileOfTheModelsName()
    {
        toys.Succeed("export", "--model", "policy", "--format", "gguf", "--output", "shipped");
        Assert.Equal(["policy-f16.gguf"], Directory.GetFiles(toys.PathOf("shipped")).Select(Path.GetFileName));
    }

    [Fact]
    public void ModelFoldersHaveFilesOfTheirTypeAndSize()
    {
        toys.Succeed("export", "--model", "policy", "--dtype", "bfloat16", "--max-shard-size", "10KB", "--output", "shards");
        using var weights = WeightFiles.Open(toys.PathOf("shards"));
        Assert.EndsWith("model.safetensors.index.json", weights.Path, StringComparison.Ordinal);
        Assert.All(weights.Names, n => Assert.Equal(TorchSharp.torch.ScalarType.BFloat16, weights.ElementType(n)));
        toys.Succeed("export", "--model", "policy", "--storage", "float16", "--output", "halves");
        Assert.True(File.Exists(toys.PathOf("halves", "README.md")));
        using var model = AutoModelForCausalLM.FromPretrained(toys.PathOf("shards"));
    }

    [Theory]
    [InlineData("gguf", "classifier", "is not a language model", "")]
    [InlineData("gguf", "policy", "stores f16, f32", "--dtype=float64")]
    [InlineData("gguf", "policy", "means nothing for the format gguf", "--value-head")]
    [InlineData("transformers", "policy", "means nothing for the format transformers", "--adapter-only")]
    [InlineData("transformers", "policy", "such as 5GB", "--max-shard-size=5")]
    [InlineData("peft", "policy", "no adapter", "")]
    [InlineData("onyx", "policy", "it must be one of", "")]
    public void WhatCannotBeIsSaidInASentenceAndLeavesNothing(string format, string model, string why, string flag)
    {
        var result = toys.Run(["export", "--model", model, "--format", format, "--output", "nothing/x.gguf", .. flag.Length > 0 ? flag.Split('=', 2) : []]);
        Assert.Equal(model == "classifier" ? 1 : 2, result.ExitCode);
        Assert.Contains(why, result.Error, StringComparison.Ordinal);
        Assert.False(Directory.Exists(toys.PathOf("nothing")));
    }
}
