using CsCheck;
using Rlhf.Cli;
using Rlhf.Cli.Settings;
using Rlhf.Generation;
using Rlhf.Runtime;
using Rlhf.Training.Optimization;
using Rlhf.Training.Ppo;
using Rlhf.Training.RewardModeling;
using Rlhf.Training.Sft;

namespace Rlhf.Tests.Cli;

public class SettingsBinderTests
{
    private static SettingsBinder Ppo() => new SettingsBinder()
        .Add("PPO", new PpoConfig(), c => c.Validate(), hide: nameof(PpoConfig.Divergence))
        .Add("Generation", new GenerationConfig(), c => c.Validate(), hide: nameof(GenerationConfig.MaxNewTokens));

    private static BoundSettings Bind(string yaml, params (string Flag, string Value)[] flags) =>
        Ppo().Bind(flags.ToDictionary(f => f.Flag, f => f.Value), YamlSettingsFile.Parse(yaml, "run.yaml"), "run.yaml");

    private static string Refusal(string yaml, params (string Flag, string Value)[] flags) =>
        Assert.Throws<ConfigurationException>(() => Bind(yaml, flags)).Message;

    [Fact]
    public void Nothing_given_leaves_every_default()
    {
        var bound = Bind("");
        Assert.Equal(new PpoConfig(), bound.Get<PpoConfig>());
        Assert.Equal(new GenerationConfig(), bound.Get<GenerationConfig>());
    }

    [Fact]
    public void A_verb_may_have_defaults_of_its_own_and_they_stay_untouched()
    {
        var defaults = new PpoConfig { LearningRate = 3e-4, MaxGradNorm = 0.5 };
        var bound = new SettingsBinder().Add("PPO", defaults, null, nameof(PpoConfig.Divergence))
            .Bind(new Dictionary<string, string> { ["--batch-size"] = "8" }, []);
        Assert.Equal(defaults with { BatchSize = 8 }, bound.Get<PpoConfig>());
        Assert.Equal(128, defaults.BatchSize);
    }

    [Fact]
    public void Flags_win_over_the_file()
    {
        var config = Bind("learning_rate: 1e-3\nbatch_size: 64\nmini_batch_size: 64", ("--learning-rate", "2e-5"))
            .Get<PpoConfig>();
        Assert.Equal(2e-5, config.LearningRate);
        Assert.Equal(64, config.BatchSize);
    }

    [Theory]
    [InlineData("learning_rate: 0.5")]
    [InlineData("learning-rate: 0.5")]
    [InlineData("learningRate: 0.5")]
    [InlineData("LearningRate: \"0.5\"")]
    [InlineData("{learning_rate: .5}")]
    [InlineData("# a comment\n---\nlearning_rate: 5e-1 # another\n")]
    public void A_key_may_be_spelt_in_every_usual_way(string yaml) => Assert.Equal(0.5, Bind(yaml).Get<PpoConfig>().LearningRate);

    [Fact]
    public void Every_kind_of_value_is_read()
    {
        var bound = Bind("kl_penalty: FULL\nlearning_rate_schedule: cosine\nadaptive_kl_control: no\nmax_grad_norm: "
            + "0.5\nnum_shared_layers: 3\nseed: -9000000000\nmin_length: -1\nmin_p: ~");
        var config = bound.Get<PpoConfig>();
        Assert.Equal(KlPenalty.Full, config.KlPenalty);
        Assert.Equal(LearningRateSchedule.Cosine, config.LearningRateSchedule);
        Assert.False(config.AdaptiveKlControl);
        Assert.Equal(0.5, config.MaxGradNorm);
        Assert.Equal(3, config.NumSharedLayers);
        Assert.Equal(-9000000000, config.Seed);
        Assert.Equal(-1, bound.Get<GenerationConfig>().MinLength);
        Assert.Null(bound.Get<GenerationConfig>().MinP);
    }

    [Theory]
    [InlineData("none")]
    [InlineData("null")]
    [InlineData("")]
    public void A_flag_can_unset_what_the_file_sets(string text) =>
        Assert.Null(Bind("max_grad_norm: 1", ("--max-grad-norm", text)).Get<PpoConfig>().MaxGradNorm);

    [Fact]
    public void An_unknown_key_is_refused_by_file_line_and_nearest_name() =>
        Assert.Equal("run.yaml, line 2: unknown setting 'lerning_rate'; did you mean 'learning_rate'?",
            Refusal("seed: 1\nlerning_rate: 1"));

    [Fact]
    public void A_key_like_no_other_gets_no_suggestion() =>
        Assert.Equal("run.yaml, line 1: unknown setting 'zzzzqqqq'.", Refusal("zzzzqqqq: 1"));

    [Fact]
    public void A_hidden_setting_is_unknown() => Assert.StartsWith("run.yaml, line 1: unknown setting 'max_new_tokens'",
        Refusal("max_new_tokens: 5"));

    [Theory]
    [InlineData("batch_size: many", "run.yaml, line 1: batch_size: 'many' is not a whole number.")]
    [InlineData("batch_size: 1.5", "run.yaml, line 1: batch_size: '1.5' is not a whole number.")]
    [InlineData("batch_size: 99999999999", "run.yaml, line 1: batch_size: '99999999999' is not a whole number.")]
    [InlineData("gamma: .inf", "run.yaml, line 1: gamma: '.inf' is not a number such as 0.1 or 1e-5.")]
    [InlineData("gamma: NaN", "run.yaml, line 1: gamma: 'NaN' is not a number such as 0.1 or 1e-5.")]
    [InlineData("gamma: 0,9", "run.yaml, line 1: gamma: '0,9' is not a number such as 0.1 or 1e-5.")]
    [InlineData("max_grad_norm: big", "run.yaml, line 1: max_grad_norm: 'big' is not a number such as 0.1 or 1e-5, nor none.")]
    [InlineData("early_stopping: maybe", "run.yaml, line 1: early_stopping: 'maybe' is not true or false.")]
    [InlineData("kl_penalty: full2", "run.yaml, line 1: kl_penalty: 'full2' is not one of kl, abs, mse, full.")]
    [InlineData("kl_penalty: 1", "run.yaml, line 1: kl_penalty: '1' is not one of kl, abs, mse, full.")]
    [InlineData("batch_size:", "run.yaml, line 1: batch_size has no value.")]
    [InlineData("batch_size: 8\nbatchSize: 4", "run.yaml, line 2: 'batchSize' was already set in line 1.")]
    [InlineData("batch_size: [8]", "run.yaml, line 1: 'batch_size' needs a single value; settings are not grouped or nested.")]
    [InlineData("ppo:\n  batch_size: 8", "run.yaml, line 1: 'ppo' needs a single value; settings are not grouped or nested.")]
    [InlineData("- 8", "run.yaml, line 1: a configuration file is a list of lines such as 'learning_rate: 1e-5'.")]
    [InlineData("seed: &a 1", "run.yaml, line 1: anchors are refused.")]
    [InlineData("seed: *a", "run.yaml, line 1: 'seed' is an alias; anchors and aliases are refused.")]
    [InlineData("seed: !!int 1", "run.yaml, line 1: type tags such as 'tag:yaml.org,2002:int' are refused.")]
    [InlineData("seed: 1\n---\nseed: 2", "run.yaml, line 2: a second document begins; a configuration file has one.")]
    public void A_wrong_file_is_refused_by_line(string yaml, string message) => Assert.Equal(message, Refusal(yaml));

    [Fact]
    public void All_problems_are_in_one_message()
    {
        var problems = Assert.Throws<ConfigurationException>(() =>
            Bind("gama: 1\nbatch_size: 100\nclip_range: x", ("--target-kl", "0"), ("--horizon", "soon"),
                ("--mini-batch-size", "64"))).Problems;
        Assert.Equal(
        [
            "run.yaml, line 1: unknown setting 'gama'; did you mean 'gamma'?",
            "run.yaml, line 3: clip_range: 'x' is not a number such as 0.1 or 1e-5.",
            "--horizon: 'soon' is not a number such as 0.1 or 1e-5.",
            "--batch-size 100 is no multiple of --mini-batch-size 64 × --gradient-accumulation-steps 1; change one of them. "
                + "(run.yaml, line 2)",
            "--target-kl is 0; it must be above 0.",
        ], problems);
    }

    [Fact]
    public void What_a_record_refuses_is_told_in_the_words_of_the_command_line()
    {
        Assert.Equal("--temperature is 0; it must be above 0. For the most likely token set --do-sample to false. (run.yaml, "
            + "line 1)", Refusal("temperature: 0"));
        Assert.Equal("--use-score-norm has no effect without --use-score-scaling; turn that on or this off.",
            Refusal("", ("--use-score-norm", "true")));
    }

    [Fact]
    public void The_written_file_repeats_the_run()
    {
        var bound = Bind("max_grad_norm: 1\nkl_penalty: full", ("--learning-rate", "1.41e-5"), ("--min-p", "0.1"));
        string yaml = bound.ToYaml("A run.");
        Assert.Contains("\nlearning_rate: 1.41e-5\n", yaml);
        var again = Bind(yaml);
        Assert.Equal(bound.Get<PpoConfig>(), again.Get<PpoConfig>());
        Assert.Equal(bound.Get<GenerationConfig>(), again.Get<GenerationConfig>());
    }

    private sealed record Texts
    {
        public string? Path { get; init; }
    }

    [Fact]
    public void Any_text_survives_the_written_file() => Gen.String.Sample(text =>
    {
        var binder = new SettingsBinder().Add("Texts", new Texts());
        var bound = binder.Bind(new Dictionary<string, string> { ["--path"] = text }, []);
        var again = binder.Bind(new Dictionary<string, string>(), YamlSettingsFile.Parse(bound.ToYaml("x"), "f"), "f");
        Assert.Equal(text.Length == 0 ? null : text, again.Get<Texts>().Path);
    }, iter: 300);

    [Fact]
    public void Hostile_text_is_refused_or_read_but_nothing_else() =>
        Gen.String[Gen.Char["abc_:-{}[]&*!|>'\"#%@`,? \n\t\\~0123456789\0\uFEFF"], 0, 60].Sample(text =>
        {
            try
            {
                YamlSettingsFile.Parse(text, "f");
            }
            catch (ConfigurationException)
            {
            }
        }, iter: 3000);

    [Fact]
    public void Deep_nesting_and_large_files_are_refused()
    {
        Assert.Throws<ConfigurationException>(() => YamlSettingsFile.Parse("a: " + new string('[', 500_000), "f"));
        Assert.Throws<ConfigurationException>(() => YamlSettingsFile.Parse(new string('{', 500_000), "f"));
        using var folder = new Fixtures.TemporaryFolder();
        string file = Path.Combine(folder.Path, "large.yaml");
        File.WriteAllText(file, "# " + new string('x', YamlSettingsFile.MaximumBytes));
        Assert.Contains("is larger than 1 MiB", Assert.Throws<ConfigurationException>(() => YamlSettingsFile.Read(file)).Message);
        Assert.Contains("does not exist", Assert.Throws<ConfigurationException>(() => YamlSettingsFile.Read(file + "x")).Message);
        Assert.Contains("is a folder", Assert.Throws<ConfigurationException>(() => YamlSettingsFile.Read(folder.Path)).Message);
    }

    [Fact]
    public void A_name_can_only_be_in_one_record() =>
        Assert.Contains("--learning-rate", Assert.Throws<ArgumentException>(() =>
            new SettingsBinder().Add("A", new PpoConfig(), null, nameof(PpoConfig.Divergence)).Add("B", new RewardConfig())).Message);

    [Fact]
    public void Every_setting_of_the_library_has_help()
    {
        var binders = new[] { Ppo(), new SettingsBinder().Add("SFT", new SftConfig()),
            new SettingsBinder().Add("Reward", new RewardConfig()) };
        foreach (var setting in binders.SelectMany(b => b.Settings))
            Assert.False(string.IsNullOrWhiteSpace(setting.Help), setting.Flag);
    }

    [Theory]
    [InlineData("NumTrainEpochs", "num train epochs")]
    [InlineData("TopP", "top p")]
    [InlineData("MinP", "min p")]
    [InlineData("Lam", "lam")]
    [InlineData("EosTokenId", "eos token id")]
    public void Names_split_into_words(string name, string words) => Assert.Equal(words, string.Join(' ', Setting.Words(name)));

    [Theory]
    [InlineData("gama", "gamma", 1)]
    [InlineData("bacth", "batch", 1)]
    [InlineData("", "abc", 3)]
    [InlineData("kitten", "sitting", 3)]
    public void Distance_counts_edits(string a, string b, int distance) => Assert.Equal(distance, NearestName.Distance(a, b));

    [Theory]
    [InlineData("/home/me/models/gpt2/", "gpt2")]
    [InlineData("/", "/")]
    [InlineData("runs/my-ppo", "runs/my-ppo")]
    [InlineData("1/2", "1/2")]
    [InlineData("--steps", "--steps")]
    public void A_model_card_names_no_folders_of_this_machine(string word, string expected) =>
        Assert.Equal(expected, VerbContext.WithoutFolders(word));
}
