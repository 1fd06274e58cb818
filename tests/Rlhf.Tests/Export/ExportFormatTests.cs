using System.Text.Json.Nodes;
using Rlhf.Cli.Flags;
using Rlhf.Export;
using Rlhf.Export.Gguf;
using Rlhf.Models;
using Rlhf.Models.Adapters;
using Rlhf.Runtime;
using Rlhf.Weights;
using TorchSharp;
using static TorchSharp.torch;

namespace Rlhf.Tests.Export;

/// <summary>Formats as a list, model folders in several files and types, adapters, and what no format can hold.</summary>
public sealed class ExportFormatTests
{
    [Fact]
    public void ShardsAreThoseOfTransformers()
    {
        using var scope = NewDisposeScope();
        using var folder = new Fixtures.TemporaryFolder();
        string source = Path.Combine(folder.Path, "model"), target = Path.Combine(folder.Path, "shards");
        ExportModels.Write(source, "llama-small", ExportModels.Tokenizer("byte-llama3"));
        // 708 rows of 32 numbers: the embedding alone is larger than a file may be, and has one of its own.
        ExportFormats.Of("transformers").Write(new(source, "model"), target, new() { MaxShardSize = 30_000, Type = "float32" });
        var index = JsonNode.Parse(File.ReadAllText(Path.Combine(target, "model.safetensors.index.json")))!;
        var map = index["weight_map"]!.AsObject().ToDictionary(x => x.Key, x => (string)x.Value!);
        string[] files = [.. Directory.GetFiles(target, "*.safetensors").Select(f => Path.GetFileName(f)!).Order()];
        Assert.Equal(files, map.Values.Distinct().Order());
        Assert.Equal($"model-00001-of-{files.Length:00000}.safetensors", files[0]);
        Assert.True(files.Length > 2);
        Assert.Equal(["model.embed_tokens.weight"], map.Where(m => m.Value == files[0]).Select(m => m.Key));
        var whole = SafeTensors.Load(Path.Combine(source, "model.safetensors"));
        Assert.Equal(whole.Values.Sum(t => t.numel() * 4), (long)index["metadata"]!["total_size"]!);
        foreach (string file in files)
        {
            var shard = SafeTensors.Load(Path.Combine(target, file));
            Assert.True(shard.Count == 1 || shard.Values.Sum(t => t.numel() * 4) <= 30_000);
            foreach (var (name, values) in shard)
                Assert.True(values.Equals(whole[name]), name);
        }
        using var again = AutoModelForCausalLM.FromPretrained(target);

        // Written over in one file: no reader takes the old ones for it.
        ExportFormats.Of("transformers").Write(new(source, "model"), target, new());
        Assert.Equal(["model.safetensors"], Directory.GetFiles(target, "model*").Select(Path.GetFileName));
    }

    [Theory]
    [InlineData("bfloat16", ScalarType.BFloat16)]
    [InlineData("f16", ScalarType.Float16)]
    [InlineData("float64", ScalarType.Float64)]
    [InlineData("auto", ScalarType.BFloat16)]
    public void WeightsAndConfigurationAgreeOnTheType(string type, ScalarType expected)
    {
        using var scope = NewDisposeScope();
        using var folder = new Fixtures.TemporaryFolder();
        string source = Path.Combine(folder.Path, "model"), target = Path.Combine(folder.Path, "other");
        ExportModels.Write(source, "qwen2", ExportModels.Tokenizer("byte-qwen"), storeAs: ScalarType.BFloat16);
        ExportFormats.Of("transformers").Write(new(source, "some model"), target, new() { Type = type });
        Assert.All(SafeTensors.Load(Path.Combine(target, "model.safetensors")).Values, t => Assert.Equal(expected, t.dtype));
        Assert.Equal(expected.ToString().ToLowerInvariant(), (string?)JsonNode.Parse(File.ReadAllText(Path.Combine(target, "config.json")))!["dtype"]);
        Assert.Contains("# some model", File.ReadAllText(Path.Combine(target, "README.md")), StringComparison.Ordinal);
    }

    [Fact]
    public void AnAdapterAloneStaysAnAdapter()
    {
        using var scope = NewDisposeScope();
        using var folder = new Fixtures.TemporaryFolder();
        string source = Fixtures.Path("lora", "llama-attention", "adapter"), target = Path.Combine(folder.Path, "peft");
        AdapterFolder.UseBase(source, Fixtures.Path("preference-models", "llama", "reference"));
        ExportFormats.Of("peft").Write(new(source, "adapter"), target, new() { Type = "float16" });
        var (before, after) = (SafeTensors.Load(Path.Combine(source, LoraAdapter.WeightsName)), SafeTensors.Load(Path.Combine(target, LoraAdapter.WeightsName)));
        Assert.Equal(before.Keys.Order(), after.Keys.Order());
        Assert.All(after, t => Assert.True(t.Value.Equals(before[t.Key].to(float16)), t.Key));
        Assert.Equal(File.ReadAllText(Path.Combine(source, "adapter_config.json")), File.ReadAllText(Path.Combine(target, "adapter_config.json")));
        Assert.Contains("library_name: peft", File.ReadAllText(Path.Combine(target, "README.md")), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("bert-tiny", "is not a language model")]
    [InlineData("families/llama-reward", "classifier or reward model")]
    [InlineData("families/gpt2-reward", "classifier or reward model")]
    public void WhatGgufCannotHoldIsRefused(string model, string why)
    {
        using var folder = new Fixtures.TemporaryFolder();
        string target = Path.Combine(folder.Path, "out", "x.gguf");
        var error = Assert.Throws<InvalidDataException>(() =>
            ExportFormats.Of("gguf").Write(new(Fixtures.Path(model.Split('/')), "x"), target, new()));
        Assert.Contains(why, error.Message, StringComparison.Ordinal);
        Assert.False(Directory.Exists(Path.GetDirectoryName(target)));
    }

    /// <summary>Settings that llama.cpp's family does not have; a damaged folder. Nothing is created.</summary>
    [Theory]
    [InlineData("llama-small", "hidden_act", "\"gelu\"", "is the activation")]
    [InlineData("qwen3", "attention_bias", "true", "have biases")]
    [InlineData("gemma2", "attn_logit_softcapping", "null", "no soft cap")]
    [InlineData("gemma2", "tie_word_embeddings", "false", "weight of its own")]
    [InlineData("gemma3", "layer_types", """["sliding_attention","full_attention","full_attention","sliding_attention"]""", "irregular order")]
    [InlineData("smollm3", "no_rope_layers", "[1,1,1,1]", "rotary positions")]
    [InlineData("qwen2", "rope_parameters", """{"rope_type":"llama3","rope_theta":10000,"factor":8,"low_freq_factor":1,"high_freq_factor":4,"original_max_position_embeddings":24}""", "Llama 3's")]
    [InlineData("olmo2", "rope_parameters", """{"rope_type":"yarn","rope_theta":10000,"factor":4,"beta_fast":16,"original_max_position_embeddings":24}""", "YaRN's ramp")]
    [InlineData("gpt2", "scale_attn_by_inverse_layer_idx", "true", "scaled otherwise")]
    public void WhatLlamaCppDoesNotDoIsRefused(string family, string key, string value, string why)
    {
        using var folder = new Fixtures.TemporaryFolder();
        string source = Path.Combine(folder.Path, "model"), target = Path.Combine(folder.Path, "out", "x.gguf");
        ExportModels.Write(source, family, ExportModels.Tokenizer("byte-llama3"), json => json[key] = JsonNode.Parse(value));
        var error = Assert.Throws<InvalidDataException>(() => ExportFormats.Of("gguf").Write(new(source, "x"), target, new()));
        Assert.Contains(why, error.Message, StringComparison.Ordinal);
        Assert.StartsWith(Path.Combine(source, "config.json"), error.Message, StringComparison.Ordinal);
        Assert.False(Directory.Exists(Path.GetDirectoryName(target)));
    }

    [Theory]
    [InlineData("gguf")]
    [InlineData("transformers")]
    public void ADamagedModelLeavesNothing(string format)
    {
        using var folder = new Fixtures.TemporaryFolder();
        string source = Path.Combine(folder.Path, "model"), target = Path.Combine(folder.Path, "out", "x.gguf");
        ExportModels.Write(source, "llama-small", ExportModels.Tokenizer("byte-llama3"));
        string weights = Path.Combine(source, "model.safetensors");
        File.WriteAllBytes(weights, File.ReadAllBytes(weights)[..^100]);
        Assert.Throws<InvalidDataException>(() => ExportFormats.Of(format).Write(new(source, "x"), target, new()));
        Assert.False(Directory.Exists(Path.GetDirectoryName(target)));
    }

    [Fact]
    public void OptionsOfOtherFormatsAreRefused()
    {
        var gguf = ExportFormats.Of("gguf");
        Assert.Contains("MaxShardSize means nothing for the format gguf", Assert.Single(ExportFormats.Problems(gguf, new() { MaxShardSize = 5 })), StringComparison.Ordinal);
        Assert.Contains("stores f16, f32, bf16, q8_0", Assert.Single(ExportFormats.Problems(gguf, new() { Type = "float64" })), StringComparison.Ordinal);
        Assert.Empty(ExportFormats.Problems(gguf, new() { Type = "BFLOAT16", AdapterOnly = true }));
        Assert.Throws<ConfigurationException>(() => ExportFormats.Of("onyx"));
    }

    [Theory]
    [InlineData("5GB", 5_000_000_000L)]
    [InlineData("500mb", 500_000_000L)]
    [InlineData("2GiB", 2L << 30)]
    [InlineData("1 KB", 1000L)]
    [InlineData("5", null)]
    [InlineData("0GB", null)]
    [InlineData("-1GB", null)]
    [InlineData("99999999999TB", null)]
    public void SizesAreReadAsTransformersDoes(string text, long? bytes) => Assert.Equal(bytes, FileSize.Parse(text));

    /// <summary>Blocks worked out by hand: a step of 1, and numbers at and between the steps.</summary>
    [Fact]
    public void BlocksAreLlamaCpps()
    {
        var values = new float[32];
        (values[0], values[1], values[2], values[31]) = (127, -3.5f, 0.4f, -127);
        var q8 = new byte[34];
        GgufTensorType.Q8_0.Encode(values, q8);
        Assert.Equal((Half)1, BitConverter.ToHalf(q8));
        Assert.Equal([127, -4, 0, 0], q8[2..6].Select(b => (int)(sbyte)b));
        Assert.Equal(-127, (sbyte)q8[33]);

        values = [.. Enumerable.Range(0, 32).Select(i => i - 8f)];
        (values[16], values[17]) = (-8, 7);
        for (int i = 18; i < 32; i++)
            values[i] = 0;
        for (int i = 0; i < 16; i++)
            values[i] = i - 8;
        var q4 = new byte[18];
        GgufTensorType.Q4_0.Encode(values, q4);
        Assert.Equal((Half)1, BitConverter.ToHalf(q4)); // the furthest number is -8, and levels are around 8
        Assert.Equal([.. Enumerable.Range(0, 16)], q4[2..].Select(b => b & 15));
        Assert.Equal([0, 15, 8], q4[2..5].Select(b => b >> 4));

        values = [.. Enumerable.Range(0, 32).Select(i => 10f + i % 16 * 2)];
        var q41 = new byte[20];
        GgufTensorType.Q4_1.Encode(values, q41);
        Assert.Equal(((Half)2, (Half)10), (BitConverter.ToHalf(q41), BitConverter.ToHalf(q41, 2)));
        Assert.Equal([.. Enumerable.Range(0, 16).Select(i => i * 17)], q41[4..].Select(b => (int)b));

        var bf = new byte[4];
        GgufTensorType.BF16.Encode([1.00390625f, float.NaN], bf); // halfway: to the even one
        Assert.Equal(0x3F80, BitConverter.ToUInt16(bf));
        Assert.True(float.IsNaN(BitConverter.UInt32BitsToSingle((uint)BitConverter.ToUInt16(bf, 2) << 16)));
        Assert.Throws<OverflowException>(() => GgufTensorType.F16.Encode([70_000f], new byte[2]));
    }

    /// <summary>The head of a file, byte for byte, written by hand from the specification.</summary>
    [Fact]
    public void TheFileIsTheSpecifications()
    {
        using var folder = new Fixtures.TemporaryFolder();
        string path = Path.Combine(folder.Path, "x.gguf");
        var file = new GgufFile();
        file.Set("a", 7u);
        file.Set("b", new[] { "x", "yz" });
        file.Add("t", [2, 3], GgufTensorType.F32, () => tensor(new float[,] { { 1, 2, 3 }, { 4, 5, 6 } }));
        long length = file.Save(path);
        using var expected = new MemoryStream();
        using (var w = new BinaryWriter(expected, System.Text.Encoding.UTF8, leaveOpen: true))
        {
            w.Write("GGUF"u8);
            w.Write(3u);
            w.Write(1ul);
            w.Write(2ul);
            Text("a");
            w.Write(4u);
            w.Write(7u);
            Text("b");
            w.Write(9u);
            w.Write(8u);
            w.Write(2ul);
            Text("x");
            Text("yz");
            Text("t");
            w.Write(2u);
            w.Write(3ul);
            w.Write(2ul);
            w.Write(0u);
            w.Write(0ul);
            w.Write(new byte[(32 - expected.Length % 32) % 32]);
            foreach (float v in (float[])[1, 2, 3, 4, 5, 6])
                w.Write(v);
            w.Write(new byte[8]);

            void Text(string text)
            {
                w.Write((ulong)text.Length);
                w.Write(System.Text.Encoding.UTF8.GetBytes(text));
            }
        }
        Assert.Equal(expected.ToArray(), File.ReadAllBytes(path));
        Assert.Equal(expected.Length, length);
    }
}
