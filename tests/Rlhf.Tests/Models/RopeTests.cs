using System.Text.Json.Nodes;
using Rlhf.Models;
using Rlhf.Models.Decoders;

namespace Rlhf.Tests.Models;

/// <summary>Rotary frequencies by hand, and configurations that are refused by name.</summary>
public sealed class RopeTests
{
    [Fact]
    public void DynamicScalingRaisesTheBaseWithTheText()
    {
        var rope = Read("""{"rope_scaling": {"type": "dynamic", "factor": 2.0}, "rope_theta": 10000}""");
        Assert.Equal(RopeType.Dynamic, rope.Type);
        // θ · (2 · 16 / 8 - 1)^(4 / 2) = 90,000; its root is 300.
        Assert.Equal([1f, 1 / 300f], rope.Frequencies(16), (a, b) => Math.Abs(a - b) < 1e-8f);
        Assert.Equal([1f, 0.01f], rope.Frequencies(8));
    }

    [Fact]
    public void LinearScalingDividesByTheFactor() =>
        Assert.Equal([0.5f, 0.005f], Read("""{"rope_scaling": {"type": "linear", "factor": 2.0}}""").Frequencies(4));

    [Fact]
    public void LongRopeTakesItsFactorsByLength()
    {
        var rope = Read("""
            {"original_max_position_embeddings": 4,
             "rope_scaling": {"type": "longrope", "short_factor": [1, 2], "long_factor": [4, 5]}}
            """);
        Assert.Equal([1f, 0.005f], rope.Frequencies(4));
        Assert.Equal([0.25f, 0.002f], rope.Frequencies(5));
        // √(1 + ln 2 / ln 4), as texts may be twice as long.
        Assert.Equal(Math.Sqrt(1.5), rope.AttentionFactor, 1e-12);
    }

    [Fact]
    public void YarnKeepsFastPairsAndStretchesSlowOnes()
    {
        // Pairs turn 8 / 2π and 8 · 0.01 / 2π times over the original length: the first is at the fast end, the second at the slow.
        var rope = Read("""{"rope_scaling": {"type": "yarn", "factor": 4.0, "beta_fast": 1.2, "beta_slow": 0.013}}""");
        Assert.Equal([1f, 0.0025f], rope.Frequencies(4), (a, b) => Math.Abs(a - b) < 1e-8f);
        Assert.Equal(0.1 * Math.Log(4) + 1, rope.AttentionFactor, 1e-12);
    }

    [Theory]
    [InlineData("""{"rope_scaling": {"rope_type": "mrope"}}""", "mrope")]
    [InlineData("""{"rope_scaling": {"rope_type": "linear", "factor": 0.5}}""", "factor")]
    [InlineData("""{"rope_scaling": {"rope_type": "longrope", "short_factor": [1], "long_factor": [1, 2]}}""", "short_factor")]
    [InlineData("""{"rope_scaling": {"rope_type": "llama3", "factor": 8, "high_freq_factor": 1}}""", "high_freq_factor")]
    [InlineData("""{"rope_theta": 0}""", "rope_theta")]
    [InlineData("""{"partial_rotary_factor": 0.3}""", "partial_rotary_factor")]
    [InlineData("""{"rope_scaling": "linear"}""", "rope_scaling")]
    public void WhatIsNotKnownIsRefusedByName(string json, string named) =>
        Assert.Contains(named, Assert.Throws<InvalidDataException>(() => Read(json)).Message);

    [Theory]
    [InlineData("layer_types", """["full_attention", "chunked_attention"]""", "chunked_attention")]
    [InlineData("layer_types", """["full_attention"]""", "layer_types")]
    [InlineData("num_key_value_heads", "3", "num_key_value_heads")]
    [InlineData("hidden_act", "\"relu6\"", "relu6")]
    [InlineData("hidden_size", "null", "hidden_size")]
    [InlineData("vocab_size", "-4", "vocab_size")]
    [InlineData("quantization_config", "{}", "quantization_config")]
    public void AConfigurationThatCannotBeBuiltNamesItsKey(string key, string value, string named)
    {
        var config = ModelConfig.Read(Fixtures.Path("families", "qwen2-window")).With("num_hidden_layers", 2)
            .With("layer_types", new JsonArray("full_attention", "sliding_attention")).With(key, JsonNode.Parse(value));
        Assert.Contains(named, Assert.Throws<InvalidDataException>(() => ModelShape.Of(config)).Message);
    }

    private static RopeConfig Read(string json) => RopeReader.Read(ModelConfig.Of(JsonNode.Parse(json)!.AsObject()).Root, 4, 8);
}
