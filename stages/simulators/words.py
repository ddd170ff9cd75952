"""The words from which the invented works are made: fields of research with their journals, and names of people.

Everything here is invented; a likeness to real journals, papers or persons is chance.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Venue:
    """`kind` is Crossref's word for what is published there."""

    name: str
    short: str
    publisher: str
    kind: str = "journal-article"


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    topics: tuple[str, ...]
    systems: tuple[str, ...]
    methods: tuple[str, ...]
    venues: tuple[Venue, ...]


def _words(text: str) -> tuple[str, ...]:
    return tuple(" ".join(part.split()) for part in text.split(";"))


FIELDS = (
    Field(
        "condensed matter",
        _words("""spin-wave damping; charge ordering; thermal transport; orbital polarization; vortex pinning;
            magnetocaloric response; lattice anharmonicity; Fermi-surface reconstruction; interfacial
            superconductivity; domain-wall creep; photoinduced demagnetization; phonon drag; Kondo screening;
            dielectric relaxation"""),
        _words("""layered cobaltates; twisted oxide bilayers; kagome intermetallics; amorphous rare-earth alloys;
            strained manganite films; quasi-one-dimensional vanadates; hydrogenated nickelates; van der Waals
            ferromagnets; granular aluminium wires; dilute spin glasses; iron pnictide crystals; honeycomb
            ruthenates"""),
        _words("""inelastic neutron scattering; resonant X-ray diffraction; muon spin rotation; scanning SQUID
            microscopy; density-functional theory; terahertz spectroscopy; torque magnetometry; ultrafast electron
            diffraction; nuclear quadrupole resonance; tensor-network simulation"""),
        (
            Venue("Annals of Condensed Systems", "Ann. Cond. Syst.", "Northgate Institute of Physics"),
            Venue("Letters in Quantum Materials", "Lett. Quantum Mater.", "Northgate Institute of Physics"),
            Venue("Physica Scripta Borealis", "Phys. Scr. Boreal.", "Boreal Academic"),
            Venue("Journal of Low Fields", "J. Low Fields", "Harrowgate Press"),
        ),
    ),
    Field(
        "astronomy",
        _words("""chemical enrichment; stellar rotation; dust attenuation; gas accretion; tidal disruption;
            magnetic braking; radio variability; metallicity gradients; angular momentum transport; photoevaporation;
            stellar mass assembly; satellite quenching; transit timing; jet collimation"""),
        _words("""ultra-faint dwarf galaxies; young open clusters; edge-on spiral galaxies; protoplanetary discs;
            red giant branch stars; low-luminosity quasars; compact planetary systems; cool white dwarfs; starburst
            nuclei; wide binary stars; high-redshift protoclusters; barred lenticular galaxies"""),
        _words("""integral-field spectroscopy; asteroseismology; long-baseline interferometry; hydrodynamic
            zoom-in simulations; multi-epoch astrometry; stacked 21-cm observations; Bayesian isochrone fitting;
            narrow-band imaging; radial-velocity monitoring; weak-lensing tomography"""),
        (
            Venue("Monthly Reports in Astrophysics", "MRA", "Meridian Society"),
            Venue("The Celestial Journal", "CelJ", "Lyra Publishing"),
            Venue("Astronomical Methods", "AstMet", "Lyra Publishing"),
            Venue("Advances in Galactic Science", "AGS", "Boreal Academic"),
        ),
    ),
    Field(
        "machine learning",
        _words("""gradient noise; representation collapse; label shift; catastrophic forgetting; calibration error;
            curriculum ordering; weight sharing; adversarial transfer; sparse attention; implicit regularization;
            reward hacking; data pruning; long-range memory; out-of-distribution detection"""),
        _words("""recurrent language models; graph encoders; deep ensembles; masked autoencoders; tabular
            transformers; federated learners; speech recognizers; vision backbones; retrieval-augmented generators;
            diffusion samplers; mixture-of-experts networks; tree-structured policies"""),
        _words("""spectral normalization; contrastive pre-training; influence functions; low-rank adaptation;
            variational inference; conformal prediction; knowledge distillation; self-paced sampling; second-order
            optimization; probing classifiers"""),
        (
            Venue("Transactions on Learning Machinery", "Trans. Learn. Mach.", "Open Compute Press"),
            Venue(
                "Proceedings of the Conference on Statistical Inference and Learning",
                "Proc. CSIL",
                "Open Compute Press",
                "proceedings-article",
            ),
            Venue("Journal of Applied Pattern Analysis", "J. Appl. Pattern Anal.", "Tessellate"),
            Venue(
                "Proceedings of the Workshop on Efficient Networks",
                "Proc. WEN",
                "Tessellate",
                "proceedings-article",
            ),
        ),
    ),
    Field(
        "accelerators",
        _words("""beam halo formation; space-charge compensation; emittance growth; bunch lengthening; electron-cloud
            build-up; orbit feedback; dark current; multipacting; injection losses; beam-based alignment; wakefield
            suppression; quench propagation; timing jitter; vacuum conditioning"""),
        _words("""compact storage rings; superconducting linacs; photocathode guns; proton therapy cyclotrons;
            fixed-field synchrotrons; muon cooling channels; energy-recovery injectors; medical gantries; X-band
            structures; plasma accelerator stages; hadron transfer lines; collimation insertions"""),
        _words("""turn-by-turn beam position data; particle tracking; transverse deflecting cavities; machine-learned
            surrogates; bead-pull measurement; synchrotron radiation interferometry; closed-loop tuning; laser wire
            scanning; thermal imaging; impedance modelling"""),
        (
            Venue("Proceedings of the Northern Accelerator Conference", "Proc. NAC", "JANOW", "proceedings-article"),
            Venue("Beams and Instruments", "Beams Instrum.", "Northgate Institute of Physics"),
            Venue("Accelerator Physics Letters", "Accel. Phys. Lett.", "Harrowgate Press"),
        ),
    ),
    Field(
        "ecology",
        _words("""seed dispersal; nitrogen deposition; pollinator decline; litter decomposition; predator avoidance;
            soil respiration; habitat fragmentation; phenological mismatch; grazing pressure; drought legacy effects;
            mycorrhizal exchange; larval settlement; invasive spread; canopy closure"""),
        _words("""alpine meadows; boreal peatlands; tidal mudflats; lowland oak forests; semi-arid shrublands; urban
            ponds; cloud forest epiphytes; hedgerow networks; glacier forefields; chalk grasslands; mangrove
            fringes; temperate reservoirs"""),
        _words("""stable isotope tracing; camera trapping; environmental DNA metabarcoding; eddy covariance; long-term
            exclosure experiments; acoustic monitoring; structural equation models; repeat photography; mark–recapture
            analysis; airborne lidar"""),
        (
            Venue("Ecology of Change", "Ecol. Change", "Fernhill"),
            Venue("Journal of Northern Ecology", "J. North. Ecol.", "Boreal Academic"),
            Venue("Plants and Patterns", "Plants Patterns", "Fernhill"),
            Venue("Conservation Evidence Review", "Conserv. Evid. Rev.", "Harrowgate Press"),
        ),
    ),
    Field(
        "medicine",
        _words("""delayed wound healing; antibiotic tapering; nocturnal hypoglycaemia; perioperative delirium; vitamin
            D supplementation; early mobilization; medication adherence; catheter-associated infection; chronic
            cough; sleep fragmentation; frailty screening; postpartum anaemia; door-to-needle time; shared
            decision-making"""),
        _words("""older adults with heart failure; preterm infants; rural primary care; patients on haemodialysis;
            adolescent girls with asthma; intensive care survivors; stroke units; nursing home residents; pregnant
            women with type 1 diabetes; day-case surgery; emergency departments; long-distance runners"""),
        _words("""stepped-wedge trial; retrospective cohort study; network meta-analysis; randomized crossover trial;
            mixed-methods evaluation; registry-based analysis; individual patient data meta-analysis; cluster
            randomized trial; target trial emulation; prospective diary study"""),
        (
            Venue("Clinical Practice and Outcomes", "Clin Pract Outcomes", "Medica Verlag"),
            Venue("The Harrowgate Medical Journal", "Harrowgate Med J", "Harrowgate Press"),
            Venue("European Archives of Internal Care", "Eur Arch Intern Care", "Medica Verlag"),
            Venue("Paediatric Evidence", "Paediatr Evid", "Fernhill"),
        ),
    ),
    Field(
        "molecular biology",
        _words("""ribosome stalling; chromatin compaction; mitochondrial fission; peptide export; enhancer silencing;
            membrane curvature sensing; codon bias; centrosome amplification; autophagic flux; circadian gating;
            replication fork reversal; glycan shielding; stress granule assembly; horizontal gene transfer"""),
        _words("""fission yeast; zebrafish neuromasts; thermophilic archaea; mouse intestinal organoids; Arabidopsis
            root hairs; soil streptomycetes; human T lymphocytes; planarian stem cells; marine diatoms; malaria
            parasites; chicken retina; biofilm-forming bacteria"""),
        _words("""single-molecule tracking; cryo-electron tomography; ribosome profiling; pooled CRISPR screening;
            proximity labelling; optogenetic recruitment; lineage barcoding; hydrogen–deuterium exchange; nanopore
            direct RNA sequencing; microfluidic time-lapse imaging"""),
        (
            Venue("Cell Processes", "Cell Process.", "Fernhill"),
            Venue("Reports in Molecular Systems", "Rep. Mol. Syst.", "Helix House"),
            Venue("Genome Dynamics and Repair", "Genome Dyn. Repair", "Helix House"),
            Venue("Journal of Membrane Research", "J. Membr. Res.", "Medica Verlag"),
        ),
    ),
    Field(
        "economics",
        _words("""minimum-wage spillovers; household debt overhang; price stickiness; commuting costs; teacher turnover;
            import competition; tax salience; housing vacancy chains; patent thickets; informal lending; parental leave
            take-up; energy poverty; municipal bond pricing; occupational licensing"""),
        _words("""small open economies; post-industrial cities; family firms; border regions; rural credit cooperatives;
            online labour platforms; public procurement auctions; secondary schools; regional hospitals; smallholder
            farms; retail banks; gig workers"""),
        _words("""regression discontinuity designs; linked employer–employee data; a field experiment; synthetic
            controls; structural estimation; scanner data; shift-share instruments; survey vignettes; bunching
            estimators; event-study evidence"""),
        (
            Venue("Quarterly Review of Regional Economics", "Q. Rev. Reg. Econ.", "Harrowgate Press"),
            Venue("Journal of Household Finance", "J. Househ. Financ.", "Tessellate"),
            Venue("Labour and Society", "Labour Soc.", "Boreal Academic"),
        ),
    ),
    Field(
        "climate",
        _words("""marine cloud brightening; permafrost thaw; moisture recycling; sea-ice ridging; aerosol ageing;
            atmospheric blocking; ocean heat uptake; dust emission; snow albedo feedback; monsoon onset; wildfire
            smoke transport; river ice break-up; tropospheric ozone; compound flooding"""),
        _words("""the Barents shelf; the central Sahel; high mountain catchments; the subpolar gyre; coastal megacities;
            the southern Amazon; Baltic river mouths; Himalayan valleys; the Arctic boundary layer; Mediterranean
            basins; tropical atolls; the Patagonian ice field"""),
        _words("""ensemble reanalysis; satellite altimetry; convection-permitting models; tree-ring reconstructions;
            large-eddy simulation; Argo float profiles; extreme value statistics; emergent constraints; ground-based
            radiometry; data assimilation"""),
        (
            Venue("Climate Processes", "Clim. Process.", "Meridian Society"),
            Venue("Earth Surface Letters", "Earth Surf. Lett.", "Meridian Society"),
            Venue("Journal of Atmospheric Records", "J. Atmos. Rec.", "Boreal Academic"),
        ),
    ),
    Field(
        "software engineering",
        _words("""test flakiness; build reproducibility; code review latency; dependency drift; configuration errors;
            API misuse; technical debt; merge conflicts; log verbosity; static analysis alarms; onboarding friction;
            energy bugs; schema evolution; incident response"""),
        _words("""open-source ecosystems; safety-critical firmware; microservice deployments; scientific workflows;
            game engines; embedded Linux distributions; data pipelines; mobile applications; industrial control
            systems; continuous integration services; spreadsheet models; compiler back ends"""),
        _words("""mutation testing; repository mining; delta debugging; symbolic execution; a controlled experiment;
            program slicing; contributor interviews; property-based testing; distributed tracing; change impact
            analysis"""),
        (
            Venue("Empirical Software Practice", "Empir. Softw. Pract.", "Tessellate"),
            Venue(
                "Proceedings of the Symposium on Program Understanding",
                "Proc. SPU",
                "Open Compute Press",
                "proceedings-article",
            ),
            Venue("Journal of Systems and Maintenance", "J. Syst. Maint.", "Harrowgate Press"),
        ),
    ),
    Field(
        "linguistics",
        _words("""vowel harmony; clitic doubling; evidential marking; loanword adaptation; turn-taking; differential
            object marking; tone sandhi; serial verb constructions; code-switching; reduplication; scope ambiguity;
            prosodic phrasing; kinship terms; dialect levelling"""),
        _words("""Uralic languages; urban youth varieties; early medieval charters; creole communities; child-directed
            speech; Bantu noun classes; bilingual classrooms; sign language narratives; Andean Spanish; court
            transcripts; whistled speech; heritage speakers of Armenian"""),
        _words("""corpus evidence; eye-tracking; acoustic analysis; phylogenetic modelling; elicitation in the field;
            self-paced reading; discourse annotation; ultrasound tongue imaging; acceptability judgements; archival
            recordings"""),
        (
            Venue("Language in Use", "Lang. Use", "Harrowgate Press"),
            Venue("Studies in Sound and Meaning", "Stud. Sound Mean.", "Boreal Academic"),
            Venue("Typology Quarterly", "Typol. Q.", "Fernhill"),
        ),
    ),
    Field(
        "mathematics",
        _words("""spectral gaps; unique continuation; rigidity; boundary regularity; quantitative equidistribution;
            mean-field limits; torsion growth; sharp isoperimetric inequalities; metastability; random walks;
            crossing numbers; homological stability; blow-up profiles; large deviations"""),
        _words("""hyperbolic surfaces; degenerate elliptic operators; sparse random graphs; nilpotent groups;
            fractional diffusion equations; simplicial complexes; self-avoiding polygons; planar maps; Coxeter
            arrangements; interacting particle systems; p-adic varieties; free boundary problems"""),
        _words("""entropy methods; compactness arguments; the circle method; coupling from the past; discrete Morse
            theory; Carleman estimates; transfer operators; combinatorial Gauss–Bonnet formulas; optimal transport;
            renewal theory"""),
        (
            Venue("Archive of Pure Analysis", "Arch. Pure Anal.", "Lemma Foundation"),
            Venue("Journal of Discrete Structures", "J. Discrete Struct.", "Lemma Foundation"),
            Venue("Probability and Dynamics", "Probab. Dyn.", "Northgate Institute of Physics"),
        ),
    ),
)

TITLES = (
    "{T} in {s}",
    "{T} in {s} studied by {m}",
    "{M} as a probe of {t} in {s}",
    "Evidence for {t} in {s} from {m}",
    "The role of {t} in {s}",
    "{T}: lessons from {s}",
    "What {m} can and cannot tell us about {t}",
    "Beyond averages: {t} in {s}",
    "Rethinking {t} in {s} with {m}",
    "{T} in {s} revealed by {m}",
    "A decade of {t} in {s}",
    "On the onset of {t} in {s}",
    "Two regimes of {t} in {s}",
    "{T} and {t2} in {s}",
    "Do we overestimate {t}? New results on {s} from {m}",
    "Towards a unified account of {t} and {t2}",
)

# Given names and family names, by the part of the world in which they go together. The first group of each pair
# can be written in Windows-1252, which the standard fonts of PDF know; the second cannot. `_` stands for a space
# within a name.
PLAIN_NAMES = (
    ("Anna Katharina Jürgen Matthias Ute Friedrich", "Müller Großmann Köhler Schäfer Weißenborn Lindqvist-Braun"),
    ("Élodie Benoît François Maëlle Gaël Hélène", "Lefèvre Bonnard Dufrêne d'Aubigné Château Garçon-Petit"),
    ("José María Iñigo Lucía Ángel Begoña", "Núñez Ibáñez Echeverría García-Soler Muñoz Peñalver"),
    ("Sigríður Jón Guðrún Ólafur", "Jónsdóttir Þórarinsson Ægisson Hallgrímsdóttir"),
    ("Søren Kjærsti Håkon Åse Bjørn Frøydis", "Østergård Sørensen Bjørnstad Håland Kvåle Ångström-Lie"),
    ("Emily Thomas Rachel Duncan Harriet Oliver", "Whitcombe Ashdown MacAllister O'Hanlon Thorne Pemberton"),
    ("Giulia Niccolò Chiara Davide Ludovica Raffaele", "Bellandi De_Santis Ferraris Di_Giacomo Cantù Morosini"),
    ("João Inês Tomás Conceição Luís Lívia", "Gonçalves Simões Magalhães Brandão Araújo Falcão"),
    ("Pieter Anneke Joost Saskia Wouter", "van_der_Meulen de_Vries-Bakker Hoekstra ter_Horst van_'t_Veer"),
    ("Šárka Žofia Miloš Tomaž", "Žižek Hrušovský Košák Šimek"),
    ("Aditi Rohan Meera Vikram Lakshmi", "Raghunathan Deshmukh Iyer Chattopadhyay Banerjee"),
    ("Wei Xiaoming Jie Lihua Yifan Chen", "Zhang Ouyang Liu Zhao Sun Huang"),
    ("Haruto Yuki Naoko Kenji Aiko", "Tanabe Morikawa Ishiguro Hoshino Sakuraba"),
    ("Kwame Amina Chidi Ngozi Tendai", "Mensah-Boateng Okonkwo Adeyemi Chikwanha Diallo"),
    ("Aino Väinö Eeva Mikko Tuuli", "Mäkelä Hyvönen Järvenpää Törmänen Lehtisalo"),
)
WIDE_NAMES = (
    ("Łukasz Małgorzata Wojciech Agnieszka", "Wiśniewski Dąbrowska Kołodziejczyk Świątek"),
    ("Jiří Kateřina Ondřej Věra", "Dvořáček Němcová Říha Čechová"),
    ("Ayşe Gülşen Çağrı İbrahim", "Yıldırım Çelikoğlu Şahinbaş Özgür"),
    ("Nguyễn Thị Phương Minh Đức", "Trần Phạm Đặng Nguyễn"),
    ("Ștefan Ioana Răzvan Mădălina", "Popescu-Țăranu Brâncoveanu Șerbănescu Munteanu"),
    ("Gábor Erzsébet Győző Ilona", "Szabó-Tóth Kőszegi Erdődy Nagyváradi"),
    ("Jānis Ieva Ģirts Rūta", "Bērziņš Kalniņa Žukauskaitė Ozoliņš"),
)
