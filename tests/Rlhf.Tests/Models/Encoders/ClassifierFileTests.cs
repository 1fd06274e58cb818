using System.Text.Json.Nodes;
using Rlhf.Models;
using Rlhf.Models.Encoders;
using Rlhf.Models.Gpt2;

namespace Rlhf.Tests.Models.Encoders;

/// <summary>config.json and checkpoints of classifiers: what is read, written and refused.</summary>
public class ClassifierFileTests
{
    /// <summary>Keys of transformers' files that say nothing about a classifier.</summary>
    private static readonly string[] Meaningless = ["add_cross_attention", "bos_token_id", "eos_token_id", "is_decoder", "qa_dropout",
        "tie_word_embeddings", "transformers_version", "use_cache"];

    public static TheoryData<string> Folders => [.. ClassifierFixtures.Folders()];

    [Theory, MemberData(nameof(Folders))]
    public void Folders_load_and_save_to_the_same_configuration_and_weights(string folder)
    {
        using var copy = new Fixtures.TemporaryFolder();
        using (var model = AutoModelForSequenceClassification.FromPretrained(Fixtures.Path(folder)))
            model.SavePretrained(copy.Path);

        var original = ClassifierFixtures.Config(folder);
        var saved = JsonNode.Parse(File.ReadAllText(Path.Combine(copy.Path, "config.json")))!.AsObject();
        foreach (var (key, value) in original.Where(pair => !Meaningless.Contains(pair.Key)))
            Assert.True(JsonNode.DeepEquals(value, saved[key]), $"{key}: {value?.ToJsonString()} became {saved[key]?.ToJsonString()}");

        var weights = ClassifierFixtures.Weights(folder);
        var written = FixtureTensors.Load(Path.Combine(copy.Path, "model.safetensors"));
        Assert.Equal(weights.Names.Order(), written.Names.Order());
        foreach (var name in weights.Names)
            Assert.Equal(weights.Floats(name), written.Floats(name));
    }

    [Theory, MemberData(nameof(Folders))]
    public void Older_names_a_missing_prefix_and_buffers_are_accepted(string folder)
    {
        static string Older(string name) => name
            .Replace("Norm.weight", "Norm.gamma").Replace("Norm.bias", "Norm.beta")
            .Replace("norm.weight", "norm.gamma").Replace("norm.bias", "norm.beta");
        var original = ClassifierFixtures.Weights(folder);
        var prefix = (string)ClassifierFixtures.Config(folder)["model_type"]! + ".";
        using var expected = ClassifierFixtures.Load(folder);
        using var model = ClassifierFixtures.Load(folder);
        var renamed = original.Rename(name => Older(name).Replace(prefix, ""));
        Assert.Contains(renamed.Names, name => name.EndsWith(".gamma", StringComparison.Ordinal));

        model.Initialize(1);
        model.LoadWeights(renamed.With("embeddings.position_ids", [1, 2], 0, 1));

        int[][] rows = [[5, 6, 7, 8], [9, 10]];
        Assert.Equal(ClassifierTests.Logits(expected, rows), ClassifierTests.Logits(model, rows));
    }

    [Theory, MemberData(nameof(Folders))]
    public void A_checkpoint_without_head_needs_a_new_one(string folder)
    {
        var headless = ClassifierFixtures.Weights(folder)
            .Rename(name => name.Contains("classifier") || name.Contains("pooler") ? null : name);
        using var model = ClassifierFixtures.Load(folder);
        Assert.Contains("classifier", Assert.Throws<InvalidDataException>(() => model.LoadWeights(headless)).Message);
        model.LoadWeightsUnderNewHead(headless, seed: 1);
    }

    [Theory]
    [InlineData("vocab_size", "4000000000", "vocab_size")]
    [InlineData("vocab_size", "0", "vocab_size")]
    [InlineData("dim", "\"64\"", "dim")]
    [InlineData("dim", "63", "heads")]
    [InlineData("n_layers", "-1", "n_layers")]
    [InlineData("n_layers", "1e9", "n_layers")]
    [InlineData("hidden_dim", "999999999", "hidden_dim")]
    [InlineData("activation", "\"mystery\"", "mystery")]
    [InlineData("activation", "[]", "activation")]
    [InlineData("dropout", "1.5", "dropout")]
    [InlineData("pad_token_id", "512", "padding token")]
    [InlineData("problem_type", "\"guessing\"", "problem_type")]
    [InlineData("id2label", "{\"0\":\"A\",\"2\":\"B\"}", "id2label")]
    [InlineData("id2label", "{\"0\":\"A\",\"1\":\"A\"}", "id2label")]
    [InlineData("id2label", "{\"0\":\"A\",\"1\":null}", "id2label")]
    [InlineData("id2label", "[\"A\"]", "id2label")]
    [InlineData("model_type", "\"mamba\"", "mamba")]
    public void Configurations_that_cannot_be_built_are_refused(string key, string value, string named)
    {
        using var folder = Folder(json => json[key] = JsonNode.Parse(value));
        Assert.Contains(named,
            Assert.Throws<InvalidDataException>(() => AutoModelForSequenceClassification.FromConfig(folder.Path)).Message);
    }

    [Fact]
    public void A_configuration_larger_than_its_weights_is_refused_before_memory_is_taken()
    {
        using var folder = Folder(json => (json["vocab_size"], json["dim"]) = (4_000_000, 4096));
        File.Copy(Fixtures.Path("distilbert-tiny", "model.safetensors"), Path.Combine(folder.Path, "model.safetensors"));
        Assert.Contains("belong together",
            Assert.Throws<InvalidDataException>(() => AutoModelForSequenceClassification.FromPretrained(folder.Path)).Message);
    }

    [Theory]
    [InlineData("""{"id2label":{"1":"good","0":"bad"}}""", "bad,good")]
    [InlineData("""{"label2id":{"good":1,"bad":0}}""", "bad,good")]
    [InlineData("""{"label2id":{"good":"1","bad":"0"}}""", "bad,good")]
    [InlineData("""{"num_labels":3}""", "LABEL_0,LABEL_1,LABEL_2")]
    [InlineData("""{"num_labels":1}""", "LABEL_0")]
    [InlineData("{}", "LABEL_0,LABEL_1")]
    public void Labels_are_read_in_any_order_and_from_any_key(string json, string expected)
    {
        using var folder = Folder(config =>
        {
            config.Remove("id2label");
            config.Remove("label2id");
            foreach (var (key, value) in JsonNode.Parse(json)!.AsObject())
                config[key] = value?.DeepClone();
        });
        Assert.Equal(expected, string.Join(",", DistilBertConfig.Load(folder.Path).Labels));
    }

    [Fact]
    public void Missing_keys_have_the_defaults_of_transformers()
    {
        using var folder = new Fixtures.TemporaryFolder();
        File.WriteAllText(Path.Combine(folder.Path, "config.json"), "{}");
        Assert.Equal((30522, 6, 768, 12, 3072, 512, 0.2), Summary(DistilBertConfig.Load(folder.Path)));
        Assert.Equal((30522, 12, 768, 12, 3072, 512, null), Summary(BertConfig.Load(folder.Path)));
        Assert.Equal((50265, 12, 768, 12, 3072, 512, null), Summary(RobertaConfig.Load(folder.Path)));
        Assert.Equal(510, RobertaConfig.Load(folder.Path).MaxLength);
    }

    [Fact]
    public void A_language_model_becomes_a_reward_model_that_transformers_opens()
    {
        using var folder = new Fixtures.TemporaryFolder();
        using (var model = AutoModelForSequenceClassification.FromPretrained(Fixtures.Path("gpt2-tiny"), newHead: NewHead.Scalar(1)))
            model.SavePretrained(folder.Path);

        var config = JsonNode.Parse(File.ReadAllText(Path.Combine(folder.Path, "config.json")))!;
        Assert.Equal("GPT2ForSequenceClassification", (string?)config["architectures"]![0]);
        Assert.Equal("gpt2", (string?)config["model_type"]);
        Assert.Equal((int?)config["eos_token_id"], (int?)config["pad_token_id"]);
        Assert.Equal(0, (int?)config["label2id"]!["LABEL_0"]);
        var weights = FixtureTensors.Load(Path.Combine(folder.Path, "model.safetensors"));
        Assert.Equal([1, Gpt2Config.Load(folder.Path).NEmbd], weights.Shape("score.weight"));
        Assert.False(weights.Has("lm_head.weight"));
    }

    private static (int, int, int, int, int, int, double?) Summary(EncoderConfig config) => (config.VocabSize, config.NumHiddenLayers,
        config.HiddenSize, config.NumAttentionHeads, config.IntermediateSize, config.MaxPositionEmbeddings, config.ClassifierDropout);

    /// <summary>distilbert-tiny's config.json with a change.</summary>
    private static Fixtures.TemporaryFolder Folder(Action<JsonObject> change)
    {
        var config = ClassifierFixtures.Config("distilbert-tiny");
        change(config);
        var folder = new Fixtures.TemporaryFolder();
        File.WriteAllText(Path.Combine(folder.Path, "config.json"), config.ToJsonString());
        return folder;
    }
}
